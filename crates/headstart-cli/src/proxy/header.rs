//! The PROXY protocol: tells the server who the client is.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};

use super::args::HeaderVersion;

/// The header for a client and the address that it dialled.
pub(super) fn header(
    version: HeaderVersion,
    client: SocketAddr,
    dialled: SocketAddr,
) -> io::Result<Vec<u8>> {
    let (client, dialled) = same_family(client, dialled);
    match version {
        HeaderVersion::V1 => Ok(v1::Addresses::from((client, dialled))
            .to_string()
            .into_bytes()),
        HeaderVersion::V2 => v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            (client, dialled),
        )
        .build(),
    }
}

/// Both as IPv4 if they are, however they are written, or both as IPv6.
fn same_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let mapped = |at: SocketAddr| match at {
        SocketAddr::V4(at) => SocketAddr::new(at.ip().to_ipv6_mapped().into(), at.port()),
        at @ SocketAddr::V6(_) => at,
    };
    match (plain(a), plain(b)) {
        (a @ SocketAddr::V4(_), b @ SocketAddr::V4(_)) => (a, b),
        (a, b) => (mapped(a), mapped(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.7:40000";

    #[test]
    fn version_1_is_a_line() {
        let text = |client: &str, dialled: &str| {
            let (client, dialled) = (client.parse().unwrap(), dialled.parse().unwrap());
            String::from_utf8(header(HeaderVersion::V1, client, dialled).unwrap()).unwrap()
        };
        assert_eq!(
            text(CLIENT, "198.51.100.1:443"),
            "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
        );
        assert_eq!(
            text("[::ffff:192.0.2.7]:40000", "[::ffff:198.51.100.1]:443"),
            "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
        );
        assert_eq!(
            text("[2001:db8::7]:40000", "[2001:db8::1]:443"),
            "PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n"
        );
    }

    #[test]
    fn version_2_is_read_back_by_its_library() {
        for (client, dialled) in [
            (CLIENT, "198.51.100.1:443"),
            ("[2001:db8::7]:40000", "[2001:db8::1]:443"),
        ] {
            let (client, dialled): (SocketAddr, SocketAddr) =
                (client.parse().unwrap(), dialled.parse().unwrap());
            let bytes = header(HeaderVersion::V2, client, dialled).unwrap();
            let read = v2::Header::try_from(bytes.as_slice()).unwrap();
            assert_eq!(read.len(), bytes.len());
            assert_eq!(read.addresses, (client, dialled).into());
        }
    }
}
