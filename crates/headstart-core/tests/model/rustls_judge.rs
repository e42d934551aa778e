//! rustls as the judge of where a ClientHello ends.
#![allow(dead_code, unreachable_pub, missing_docs)]

use headstart_core::framing::{Framing, Malformed, Progress, Scanner};
use rustls::server::Acceptor;

/// Asserts that the framing says what rustls says, or refuses the bytes for a
/// listed reason.
pub fn agrees(bytes: &[u8]) -> Result<(), String> {
    let accepted = acceptor(bytes);
    let mut scanner = Framing::tls_client_hello().scanner();
    let ours = scanner.feed(bytes);
    let agrees = match (&ours, accepted) {
        (Ok(Progress::Complete(ours)), Some(theirs)) => *ours == theirs,
        (Ok(Progress::Partial), Some(_)) => false,
        (Err(malformed), Some(_)) => stricter(malformed, bytes, &scanner),
        // What is in the message is for rustls to judge.
        (_, None) => true,
    };
    match agrees {
        true => Ok(()),
        false => Err(format!("rustls says {accepted:?}, the framing {ours:?}")),
    }
}

/// The ways in which we take less than rustls: all of them.
fn stricter(malformed: &Malformed, bytes: &[u8], scanner: &Scanner) -> bool {
    match malformed {
        // Versions of a record other than 3.1 to 3.4. rustls takes any minor
        // version, and those that it knows as SSL 2's and DTLS's.
        Malformed::NotTls => {
            let (before, wrong) = bytes.split_at(scanner.consumed());
            match (before, wrong) {
                ([.., 22, 3], [minor, ..]) => !(1..=4).contains(minor),
                ([.., 22], [0, 2, ..] | [0xFE, 0xFC | 0xFD | 0xFF, ..]) => true,
                _ => false,
            }
        }
        // The message ends inside a record.
        Malformed::DataAfterClientHello => true,
        // rustls allows for the expansion of encrypted records.
        Malformed::OversizedRecord => true,
        Malformed::TooManyRecords | Malformed::TooLong { .. } => true,
        _ => false,
    }
}

/// After how many bytes, given one at a time, rustls accepts.
pub fn acceptor(bytes: &[u8]) -> Option<usize> {
    let mut acceptor = Acceptor::default();
    for (index, byte) in bytes.iter().enumerate() {
        acceptor.read_tls(&mut [*byte].as_slice()).ok()?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(_)) => return Some(index + 1),
            Err(_) => return None,
        }
    }
    None
}
