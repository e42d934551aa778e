//! Only what is safe to replay is raced (R13).

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// A ClientHello as rustls writes it, for a server with these protocols.
pub fn client_hello(protocols: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut config = ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols.to_vec();
    let name = ServerName::try_from("test.invalid").map_err(io::Error::other)?;
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

pub fn tests() -> Vec<crate::support::Test> {
    Vec::new()
}
