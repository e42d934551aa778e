//! Tokens come back as they went, and whatever is no token is refused.

#![no_main]

use headstart_core::framing::Framing;
use headstart_core::framing::token::{HEADER_LEN, Header, MAGIC, VERSION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
        return;
    };
    // As they come, and with ever more of what chance would hardly hit.
    for fixed in 0..=6 {
        let mut bytes = *bytes;
        let known = [&MAGIC[..], &[VERSION, bytes[5] & 1]].concat();
        bytes[..fixed].copy_from_slice(&known[..fixed]);
        check(&bytes);
    }
});

fn check(bytes: &[u8; HEADER_LEN]) {
    let decoded = Header::decode(bytes);
    let scanned = Framing::token().scanner_with_limit(usize::MAX).feed(bytes);
    assert_eq!(decoded.err(), scanned.err());
    let Ok(header) = decoded else {
        return;
    };
    assert_eq!(header.encode(), *bytes);
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    let shown = format!("{header:?}");
    let id: String = header
        .id
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!shown.contains(&id[..6]), "{shown}");
}
