//! Only what is safe to replay is raced: TLS, Noise, and nothing without a
//! statement (R13).

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headstart::core::framing::NoiseHeader;
use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out, Report, SynData};
use headstart::tokio::{Admitted, Dialer, DialerBuilder, RaceStream};
use headstart::{FirstFlight, Framing, Peer};
use headstart_lab::{Family, Lab, Rule};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::common::{self, Outcome, PORT, Server, ensure, on_client, pattern};
use crate::support::{Bare, Manner, RTT, attempt, fetch_cookie, sent_to, tests, until, within};

tests![
    r13_a_tls_handshake_is_raced_and_saves_a_round_trip,
    r13_a_long_client_hello_is_not_raced_and_works,
    r13_early_data_is_on_one_connection,
    r13_what_is_not_tls_is_sent_once_plainly_in_order,
    r13_noise_handshakes_are_raced,
    r13_without_a_statement_there_is_one_plain_attempt,
    r13_an_unaware_peer_is_not_raced_unless_insisted,
];

const NAME: &str = "test.invalid";

fn tls() -> io::Result<DialerBuilder> {
    let framing = FirstFlight::Framed(Framing::tls_client_hello());
    Ok(Dialer::builder()?
        .first_flight(framing)
        .peer(Peer::FirstCome))
}

/// A certificate, and who trusts it.
fn configs() -> Result<(ClientConfig, ServerConfig), Box<dyn std::error::Error + Send + Sync>> {
    let own = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let certificate: CertificateDer<'static> = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok((client, server))
}

fn name() -> io::Result<ServerName<'static>> {
    ServerName::try_from(NAME).map_err(io::Error::other)
}

/// A ClientHello as rustls writes it, for a server with these protocols.
pub fn client_hello(protocols: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.to_vec();
    let mut client = ClientConnection::new(Arc::new(config), name()?).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

/// A TLS echo behind a gate.
fn tls_echo(lab: &Lab, config: ServerConfig) -> io::Result<Server> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handler = move |admitted: Admitted| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(admitted.stream).await?;
            let mut buf = [0; 4096];
            loop {
                match stream.read(&mut buf).await? {
                    0 => return stream.shutdown().await,
                    got => stream.write_all(&buf[..got]).await?,
                }
                stream.flush().await?;
            }
        }
    };
    let framing = Framing::tls_client_hello();
    Server::start(lab, lab.server(), Family::V4, framing, |gate| gate, handler)
}

/// A handshake and an echo; how long the handshake took.
fn tls_exchange(
    lab: &Lab,
    server: &Server,
    config: &Arc<ClientConfig>,
    settings: impl FnOnce(DialerBuilder) -> DialerBuilder + Send,
) -> io::Result<(Duration, Report)> {
    on_client(lab, async || {
        let dialer = settings(tls()?).build()?;
        let began = Instant::now();
        let stream = dialer.dial(server.address).await?;
        let connector = TlsConnector::from(config.clone());
        let mut stream = within("a handshake", connector.connect(name()?, stream)).await?;
        let took = began.elapsed();
        stream.write_all(&pattern(3000, 0)).await?;
        let mut echo = vec![0; 3000];
        within("an echo", stream.read_exact(&mut echo)).await?;
        assert!(echo == pattern(3000, 0));
        let (stream, _): (&RaceStream, _) = stream.get_ref();
        Ok((took, stream.report()))
    })
}

fn r13_a_tls_handshake_is_raced_and_saves_a_round_trip() -> Outcome {
    let (client, server) = configs()?;
    let client = Arc::new(client);
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = tls_echo(&lab, server)?;
    let (mut raced, mut plain) = (Duration::MAX, Duration::MAX);
    for _ in 0..4 {
        let (took, report) = tls_exchange(&lab, &server, &client, |dialer| dialer)?;
        ensure!(report.raced(), "{report:?}");
        let fast_open = attempt(&report, AttemptKind::FastOpen)?;
        ensure!(fast_open.syn_data == SynData::Acknowledged, "{report:?}");
        raced = raced.min(took);
        let (took, report) =
            tls_exchange(&lab, &server, &client, |dialer| dialer.peer(Peer::Unaware))?;
        ensure!(!report.raced(), "{report:?}");
        plain = plain.min(took);
    }
    ensure!(
        raced >= RTT * 9 / 10 && plain >= RTT * 19 / 10,
        "{raced:?} and {plain:?}"
    );
    ensure!(
        raced + RTT * 3 / 4 < plain,
        "{raced:?} raced, {plain:?} plain"
    );
    let in_syn = sent_to(&lab, PORT)
        .iter()
        .filter(|(_, s)| s.is_syn_with_data())
        .count();
    ensure!(in_syn == 4, "{in_syn} SYNs with data");
    ensure!(server.handled() == 8, "a handler was called twice");
    // Behind a middlebox, plain's handshake goes through.
    lab.set_rule(Rule::DropSynWithData);
    let (_, report) = tls_exchange(&lab, &server, &client, |dialer| dialer)?;
    ensure!(
        attempt(&report, AttemptKind::Plain)?.outcome == Out::Won,
        "{report:?}"
    );
    Ok(())
}

fn r13_a_long_client_hello_is_not_raced_and_works() -> Outcome {
    let (mut client, mut server) = configs()?;
    // As long as one with a post-quantum key share.
    client.alpn_protocols = (0..20).map(|n| vec![b'a' + n; 60]).collect();
    server.alpn_protocols = vec![vec![b'b'; 60]];
    let length = client_hello(&client.alpn_protocols)?.len();
    ensure!(length > 1400, "{length} bytes");
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = tls_echo(&lab, server)?;
    let (_, report) = tls_exchange(&lab, &server, &Arc::new(client), |dialer| dialer)?;
    let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
    ensure!(
        fast_open == Out::Out(Exit::NotStarted(NotStarted::TooLong)),
        "{report:?}"
    );
    Ok(())
}

/// What a client that resumes a session writes first: a ClientHello, and early
/// data behind it.
fn hello_with_early_data() -> Result<(Vec<u8>, usize), Box<dyn std::error::Error + Send + Sync>> {
    let (mut client, mut server) = configs()?;
    client.enable_early_data = true;
    server.max_early_data_size = 16_384;
    let (client, server) = (Arc::new(client), Arc::new(server));
    let mut first = ClientConnection::new(client.clone(), name()?)?;
    let mut peer = ServerConnection::new(server)?;
    for _ in 0..4 {
        let mut wire = Vec::new();
        while first.wants_write() {
            first.write_tls(&mut wire)?;
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            peer.read_tls(&mut wire)?;
            peer.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut wire)?;
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            first.read_tls(&mut wire)?;
            first.process_new_packets()?;
        }
    }
    let _ = first.reader().read(&mut [0; 1]);
    let mut second = ClientConnection::new(client, name()?)?;
    let mut hello = Vec::new();
    second.write_tls(&mut hello)?;
    // The ClientHello is the first record.
    let length = 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    let mut early = second.early_data().ok_or("no early data")?;
    early.write_all(&[b'!'; 2000])?;
    while second.wants_write() {
        second.write_tls(&mut hello)?;
    }
    Ok((hello, length))
}

fn r13_early_data_is_on_one_connection() -> Outcome {
    let (bytes, hello) = hello_with_early_data()?;
    ensure!(
        bytes.len() > hello + 2000,
        "{hello} of {} bytes",
        bytes.len()
    );
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::StripOption] {
        for first_come in [true, false] {
            let lab = common::lab(RTT / 5)?;
            fetch_cookie(&lab, Family::V4)?;
            lab.set_rule(rule);
            let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
            let report = on_client(&lab, async || {
                let peer = if first_come {
                    Peer::FirstCome
                } else {
                    Peer::Pairing
                };
                let mut stream = tls()?.peer(peer).build()?.dial(bare.address).await?;
                stream.write_all(&bytes).await?;
                within("a shutdown", stream.shutdown()).await?;
                Ok(stream.report())
            })
            .map_err(|error| format!("{rule}: {error}"))?;
            ensure!(
                report.raced() && report.flight == Some(hello),
                "{rule}: {report:?}"
            );
            until("all of it", || {
                bare.received().iter().any(|c| c.bytes == bytes)
            })?;
            let lengths: Vec<_> = bare.received().iter().map(|c| c.bytes.len()).collect();
            let more = lengths.iter().filter(|length| **length > hello).count();
            ensure!(more == 1, "{rule}: {lengths:?}, ClientHello of {hello}");
        }
    }
    Ok(())
}

fn r13_what_is_not_tls_is_sent_once_plainly_in_order() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    // At once, and after some bytes that could have been TLS.
    for start in [&b"GET / HTTP/1.1\r\n"[..], &[22, 3, 1, 0, 90, 7, 7]] {
        let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
        let bytes = [start, &pattern(50_000, 0)].concat();
        let report = on_client(&lab, async || {
            let mut stream = tls()?.build()?.dial(bare.address).await?;
            for part in bytes.chunks(997) {
                within("room", stream.write_all(part)).await?;
            }
            within("a shutdown", stream.shutdown()).await?;
            Ok(stream.report())
        })?;
        let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
        let why = matches!(
            fast_open,
            Out::Out(Exit::NotStarted(
                NotStarted::NotReplaySafe | NotStarted::PlainOpen
            ))
        );
        ensure!(why, "{report:?}");
        until("all of it", || {
            bare.received().iter().any(|c| c.bytes == bytes)
        })?;
        ensure!(
            bare.received().len() == 1,
            "{} connections",
            bare.received().len()
        );
    }
    // Half a ClientHello, and a wait for its answer.
    let bare = Bare::start(&lab, Family::V4, Manner::Answer(b"what?"))?;
    on_client(&lab, async || {
        let mut stream = tls()?.build()?.dial(bare.address).await?;
        stream.write_all(&client_hello(&[])?[..50]).await?;
        let mut answer = [0; 5];
        within("an answer", stream.read_exact(&mut answer)).await?;
        assert_eq!(&answer, b"what?");
        Ok(())
    })?;
    Ok(())
}

/// Both ends of a Noise handshake over messages of two length bytes.
async fn noise_write(
    stream: &mut (impl AsyncWriteExt + Unpin),
    noise: &mut snow::HandshakeState,
    payload: &[u8],
) -> io::Result<()> {
    let mut buf = vec![0; 2000];
    let length = noise
        .write_message(payload, &mut buf[2..])
        .map_err(io::Error::other)?;
    buf[..2].copy_from_slice(&(length as u16).to_be_bytes());
    stream.write_all(&buf[..2 + length]).await
}

async fn noise_read(
    stream: &mut (impl AsyncReadExt + Unpin),
    noise: &mut snow::HandshakeState,
) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    let mut payload = vec![0; 2000];
    let length = noise
        .read_message(&message, &mut payload)
        .map_err(io::Error::other)?;
    payload.truncate(length);
    Ok(payload)
}

fn r13_noise_handshakes_are_raced() -> Outcome {
    for pattern_name in [
        "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        "Noise_IK_25519_ChaChaPoly_BLAKE2s",
    ] {
        let params: snow::params::NoiseParams = pattern_name.parse()?;
        let responder = snow::Builder::new(params.clone()).generate_keypair()?;
        let initiator = snow::Builder::new(params.clone()).generate_keypair()?;
        let lab = common::lab(RTT / 2)?;
        fetch_cookie(&lab, Family::V6)?;
        let (theirs, public) = (params.clone(), responder.public.clone());
        let handler = move |mut admitted: Admitted| {
            let (params, private) = (theirs.clone(), responder.private.clone());
            async move {
                let mut noise = snow::Builder::new(params)
                    .local_private_key(&private)
                    .and_then(|builder| builder.build_responder())
                    .map_err(io::Error::other)?;
                noise_read(&mut admitted.stream, &mut noise).await?;
                noise_write(&mut admitted.stream, &mut noise, b"welcome").await?;
                if !noise.is_handshake_finished() {
                    noise_read(&mut admitted.stream, &mut noise).await?;
                }
                admitted.stream.write_all(b"done").await
            }
        };
        let framing = Framing::noise(NoiseHeader::Len16);
        let server = Server::start(
            &lab,
            lab.server(),
            Family::V6,
            framing.clone(),
            |gate| gate,
            handler,
        )?;
        let report = on_client(&lab, async || {
            let dialer = Dialer::builder()?
                .first_flight(FirstFlight::Framed(framing))
                .peer(Peer::FirstCome)
                .build()?;
            let mut builder = snow::Builder::new(params)
                .local_private_key(&initiator.private)
                .map_err(io::Error::other)?;
            if pattern_name.contains("IK") {
                builder = builder
                    .remote_public_key(&public)
                    .map_err(io::Error::other)?;
            }
            let mut noise = builder.build_initiator().map_err(io::Error::other)?;
            // Before the dial: a slow machine takes longer for it than for a handshake.
            let mut first = Vec::new();
            noise_write(&mut first, &mut noise, b"").await?;
            let mut stream = dialer.dial(server.address).await?;
            stream.write_all(&first).await?;
            let welcome = within("an answer", noise_read(&mut stream, &mut noise)).await?;
            assert_eq!(welcome, b"welcome");
            if !noise.is_handshake_finished() {
                noise_write(&mut stream, &mut noise, b"").await?;
            }
            let mut done = [0; 4];
            within("the end", stream.read_exact(&mut done)).await?;
            assert_eq!(&done, b"done");
            Ok(stream.report())
        })?;
        let fast_open = attempt(&report, AttemptKind::FastOpen)?;
        ensure!(report.raced(), "{pattern_name}: {report:?}");
        ensure!(
            fast_open.syn_data == SynData::Acknowledged,
            "{pattern_name}: {report:?}"
        );
        ensure!(server.handled() == 1, "{pattern_name}: handled twice");
    }
    Ok(())
}

/// One flight to a bare server; the report, and how many connections came.
fn sent_by(
    settings: impl FnOnce(DialerBuilder) -> DialerBuilder + Send,
) -> io::Result<(Report, usize)> {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Answer(b"answer"))?;
    let report = on_client(&lab, async || {
        let mut stream = settings(Dialer::builder()?)
            .build()?
            .dial(bare.address)
            .await?;
        stream.write_all(&pattern(600, 0)).await?;
        within("an answer", stream.read_exact(&mut [0; 6])).await?;
        Ok(stream.report())
    })?;
    std::thread::sleep(lab.rtt() * 2);
    Ok((report, bare.received().len()))
}

fn r13_without_a_statement_there_is_one_plain_attempt() -> Outcome {
    for peer in [Peer::Unaware, Peer::FirstCome, Peer::Pairing] {
        let (report, connections) = sent_by(|dialer| dialer.peer(peer).insist(true))?;
        let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
        let why = Out::Out(Exit::NotStarted(NotStarted::NotReplaySafe));
        ensure!(
            fast_open == why && connections == 1,
            "{connections}: {report:?}"
        );
    }
    Ok(())
}

fn r13_an_unaware_peer_is_not_raced_unless_insisted() -> Outcome {
    let asserted = |dialer: DialerBuilder| dialer.first_flight(FirstFlight::Asserted);
    let (report, connections) = sent_by(asserted)?;
    let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
    let why = Out::Out(Exit::NotStarted(NotStarted::PeerUnaware));
    ensure!(
        fast_open == why && connections == 1,
        "{connections}: {report:?}"
    );
    let (report, connections) = sent_by(|dialer| asserted(dialer).insist(true))?;
    ensure!(
        report.raced() && connections == 2,
        "{connections}: {report:?}"
    );
    Ok(())
}
