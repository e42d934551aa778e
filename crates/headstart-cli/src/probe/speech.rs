//! What a dial says: the first message, and how the conversation goes on.

use std::io::Cursor;
use std::sync::Arc;

use headstart_tokio::core::framing::token::{Header, Id};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// A line end is no request in any protocol: servers wait on, or hang up.
const HARMLESS: &[u8] = b"\r\n";

/// What first messages a probe sends.
#[derive(Clone, Debug)]
pub(super) enum Language {
    /// TLS ClientHellos, and the rest of the handshake.
    Tls {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    },
    /// So many random bytes under a Token.
    Token { size: usize },
    /// A line end, the same each time.
    Quiet,
}

impl Language {
    /// TLS to a server of this name. Certificates are not judged: nothing is told to the server.
    pub(super) fn tls(name: &str) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        // A resumed session's ClientHello would be longer than a new client's.
        config.resumption = Resumption::disabled();
        Ok(Self::Tls {
            config: Arc::new(config),
            name,
        })
    }

    /// Its name in JSON.
    pub(super) fn mode(&self) -> &'static str {
        match self {
            Self::Tls { .. } => "tls",
            Self::Token { .. } => "token",
            Self::Quiet => "quiet",
        }
    }

    /// Whether each first message is unlike any other, so that a copy is a copy.
    pub(super) fn is_unique(&self) -> bool {
        !matches!(self, Self::Quiet)
    }

    /// Whether a server that understands it answers the first message.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self, Self::Quiet)
    }

    /// A new conversation.
    pub(super) fn begin(&self) -> Result<Speech, String> {
        match self {
            Self::Tls { config, name } => {
                let mut tls = ClientConnection::new(Arc::clone(config), name.clone())
                    .map_err(|error| error.to_string())?;
                let first = written(&mut tls);
                Ok(Speech {
                    first,
                    then: Then::Tls(Box::new(tls)),
                })
            }
            Self::Token { size } => {
                let mut id = [0; 16];
                let mut flight = vec![0; *size];
                getrandom::fill(&mut id).map_err(|error| error.to_string())?;
                getrandom::fill(&mut flight).map_err(|error| error.to_string())?;
                let header = Header {
                    id: Id(id),
                    flight_len: u16::try_from(*size).unwrap_or(u16::MAX),
                    resets_losers: true,
                };
                let first = [&header.encode()[..], &flight].concat();
                Ok(Speech::first_answer(first))
            }
            Self::Quiet => Ok(Speech {
                first: HARMLESS.to_vec(),
                then: Then::HangUp,
            }),
        }
    }
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Speech {
    /// The first message.
    pub(super) first: Vec<u8>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Tls(Box<ClientConnection>),
    /// Over when a byte of answer has come.
    Answer {
        came: bool,
    },
    /// Over when the first message is out; whatever comes then is the answer.
    HangUp,
}

impl Speech {
    /// A conversation that is over with the first byte of the answer.
    pub(super) fn first_answer(first: Vec<u8>) -> Self {
        Self {
            first,
            then: Then::Answer { came: false },
        }
    }

    /// Takes what the server sent; what to send next.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        match &mut self.then {
            Then::Answer { came } => *came = true,
            Then::HangUp => {}
            Then::Tls(tls) => {
                let mut bytes = Cursor::new(bytes);
                while tls.read_tls(&mut bytes).is_ok_and(|read| read > 0) {
                    if tls.process_new_packets().is_err() {
                        // An alert, or no TLS: it has answered, and says no more.
                        self.then = Then::Answer { came: true };
                        return Vec::new();
                    }
                }
                return written(tls);
            }
        }
        Vec::new()
    }

    /// Whether this side has nothing left to say or to wait for.
    pub(super) fn is_over(&self) -> bool {
        match &self.then {
            Then::Tls(tls) => !tls.is_handshaking(),
            Then::Answer { came } => *came,
            Then::HangUp => true,
        }
    }

    /// Whether hanging up comes before the answer.
    pub(super) fn hangs_up_first(&self) -> bool {
        matches!(self.then, Then::HangUp)
    }

    /// The last words.
    pub(super) fn goodbye(&mut self) -> Vec<u8> {
        match &mut self.then {
            Then::Tls(tls) => {
                tls.send_close_notify();
                written(tls)
            }
            Then::Answer { .. } | Then::HangUp => Vec::new(),
        }
    }
}

fn written(tls: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while tls.wants_write() {
        // Writing to memory does not fail.
        if tls.write_tls(&mut bytes).is_err() {
            break;
        }
    }
    bytes
}

/// Takes every certificate: the probe looks at packets, and tells no secret.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
