//! ClientHellos of rustls, of many kinds. For tests, and seeds of the fuzzer.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::Read;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion, version,
};

/// What a client sends first, and what it is called.
pub struct Hello {
    pub name: &'static str,
    /// The ClientHello, and in some what comes after it.
    pub bytes: Vec<u8>,
    pub records: usize,
}

pub static HELLOS: LazyLock<Vec<Hello>> = LazyLock::new(|| {
    let both: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    let plain = |_: &mut ClientConfig| {};
    let many_protocols = |config: &mut ClientConfig| {
        config.alpn_protocols = (0..300)
            .map(|n| format!("proto/{n}").into_bytes())
            .collect();
    };
    let long_name = [["a".repeat(60).as_str(); 4].join("."), "example".into()].join(".");
    let fragments = |size| {
        move |config: &mut ClientConfig| {
            config.max_fragment_size = Some(size);
            many_protocols(config);
        }
    };
    vec![
        hello("TLS 1.2", &[&version::TLS12], "example.com", plain),
        hello("TLS 1.3", &[&version::TLS13], "example.com", plain),
        hello("both versions", both, "example.com", plain),
        hello("an address", both, "192.0.2.1", plain),
        hello("many protocols", both, "example.com", many_protocols),
        hello("a long name", both, &long_name, plain),
        hello("fragments of 64", both, "example.com", fragments(64)),
        hello("fragments of 500", both, "example.com", fragments(500)),
        hello("fragments of 4096", both, "example.com", fragments(4096)),
        resumed(false),
        resumed(true),
    ]
});

fn hello(
    name: &'static str,
    versions: &[&'static SupportedProtocolVersion],
    server: &str,
    set: impl FnOnce(&mut ClientConfig),
) -> Hello {
    let mut config = client_config(versions);
    set(&mut config);
    let name_of_server = ServerName::try_from(server.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name_of_server).unwrap();
    sent(name, &mut client)
}

/// A client that has a ticket, with early data or without.
fn resumed(early_data: bool) -> Hello {
    let mut client_config = client_config(&[&version::TLS13]);
    client_config.enable_early_data = early_data;
    client_config.resumption = Resumption::in_memory_sessions(8);
    let client_config = Arc::new(client_config);
    let server_config = Arc::new(server_config());
    let name = ServerName::try_from("example.com").unwrap();
    let mut client = ClientConnection::new(client_config.clone(), name.clone()).unwrap();
    let mut server = ServerConnection::new(server_config).unwrap();
    for _ in 0..4 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let mut flight = flight.as_slice();
        while !flight.is_empty() {
            server.read_tls(&mut flight).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            client.read_tls(&mut answer).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(client.reader().read(&mut [0]).is_err(), "would block");
    let mut client = ClientConnection::new(client_config, name).unwrap();
    if early_data {
        let mut writer = client.early_data().expect("a ticket for early data");
        std::io::Write::write_all(&mut writer, &[b'e'; 1000]).unwrap();
    }
    sent(
        if early_data { "early data" } else { "resumed" },
        &mut client,
    )
}

fn sent(name: &'static str, client: &mut ClientConnection) -> Hello {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let mut records = 0;
    let mut rest = bytes.as_slice();
    while let [22, _, _, high, low, tail @ ..] = rest {
        records += 1;
        rest = &tail[usize::from(*high) << 8 | usize::from(*low)..];
    }
    Hello {
        name,
        bytes,
        records,
    }
}

fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll))
        .with_no_client_auth()
}

fn server_config() -> ServerConfig {
    // An Ed25519 key in PKCS #8 (RFC 8410 section 7); any 32 bytes are one.
    let header = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
    let key = PrivatePkcs8KeyDer::from([&header[..], &[7; 32]].concat());
    let certified = CertifiedKey::new(
        vec![CertificateDer::from(vec![48, 0])],
        any_eddsa_type(&key).unwrap(),
    );
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.max_early_data_size = 4096;
    config
}

/// Certificates are not what is tested here.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
