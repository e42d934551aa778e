//! Where ClientHellos end, with rustls as the judge.

#[path = "model/cuts.rs"]
mod cuts;
#[path = "model/hellos.rs"]
mod hellos;
#[path = "model/rustls_judge.rs"]
mod judge;

use headstart_core::framing::{FLIGHT_MAX, Framing, Malformed, Progress};
use hellos::HELLOS;
use judge::acceptor;
use proptest::prelude::*;

#[test]
fn complete_at_the_very_byte_at_which_rustls_accepts() {
    for hello in HELLOS.iter() {
        let accepted = acceptor(&hello.bytes).expect(hello.name);
        assert_eq!(bytewise(&hello.bytes), Ok(Some(accepted)), "{}", hello.name);
    }
}

#[test]
fn hellos_are_of_the_kinds_that_they_should_be() {
    let by_name = |name| HELLOS.iter().find(|hello| hello.name == name).unwrap();
    assert_eq!(by_name("TLS 1.3").records, 1);
    assert!(by_name("fragments of 64").records > 50);
    assert!((3..50).contains(&by_name("fragments of 500").records));
    // Tickets name themselves, and bind themselves to the ClientHello.
    assert!(by_name("resumed").bytes.len() > by_name("TLS 1.3").bytes.len() + 64);
}

#[test]
fn r13_early_data_is_beyond_the_first_message() {
    let hello = HELLOS.iter().find(|h| h.name == "early data").unwrap();
    let end = acceptor(&hello.bytes).unwrap();
    assert!(hello.bytes.len() > end + 5, "no early data was sent");
    let mut scanner = Framing::tls_client_hello().scanner();
    assert_eq!(scanner.feed(&hello.bytes), Ok(Progress::Complete(end)));
    assert_eq!(scanner.consumed(), end);
}

#[test]
fn every_cut_gives_the_same_answer() {
    for hello in HELLOS.iter() {
        let whole = Framing::tls_client_hello().scanner().feed(&hello.bytes);
        for at in 0..=hello.bytes.len() {
            let (first, second) = hello.bytes.split_at(at);
            let mut scanner = Framing::tls_client_hello().scanner();
            let early = scanner.feed(first).unwrap();
            if matches!(whole, Ok(Progress::Complete(end)) if at < end) {
                assert_eq!(early, Progress::Partial, "{} cut at {at}", hello.name);
            }
            assert_eq!(scanner.feed(second), whole, "{} cut at {at}", hello.name);
        }
    }
}

#[test]
fn the_preamble_of_storj_is_part_of_the_message() {
    let framing = Framing::tls_client_hello().after(b"DRPC!!!1").unwrap();
    let hello = &HELLOS[1].bytes;
    let message = [b"DRPC!!!1", hello.as_slice()].concat();
    assert_eq!(
        framing.scanner().feed(&message),
        Ok(Progress::Complete(message.len()))
    );
    assert_eq!(framing.scanner().feed(hello), Err(Malformed::WrongPreamble));
    assert_eq!(
        framing.scanner().feed(b"DRPC!N!1"),
        Err(Malformed::WrongPreamble)
    );
}

#[test]
fn refused_by_the_first_wrong_byte() {
    let body = [1, 0, 0, 41, 3, 3];
    let cases: &[(&[u8], Malformed, usize)] = &[
        (b"GET / HTTP/1.1\r\n", Malformed::NotTls, 0),
        (b"SSH-2.0-x\r\n", Malformed::NotTls, 0),
        (&[0x80, 0x2E, 1, 0, 2], Malformed::NotTls, 0),
        (&[23, 3, 3, 0, 1, 0], Malformed::NotTls, 0),
        (&[21, 3, 3, 0, 2, 1, 0], Malformed::NotTls, 0),
        (&[22, 2, 1, 0, 9], Malformed::NotTls, 1),
        (&[22, 3, 0, 0, 9], Malformed::NotTls, 2),
        (&[22, 3, 5, 0, 9], Malformed::NotTls, 2),
        (&[22, 3, 1, 0, 0], Malformed::EmptyRecord, 4),
        (&[22, 3, 1, 0x40, 1], Malformed::OversizedRecord, 4),
        (&[22, 3, 1, 0xFF, 0xFF], Malformed::OversizedRecord, 4),
        (&[22, 3, 1, 0, 9, 2], Malformed::NotClientHello, 5),
        (&[22, 3, 1, 0, 9, 1, 0, 0, 40], Malformed::NotClientHello, 8),
        (
            &[&[22, 3, 1, 0, 46], &body[..]].concat(),
            Malformed::DataAfterClientHello,
            8,
        ),
        (
            &[&[22, 3, 1, 0, 6], &body[..], &[22, 3, 1, 0, 40]].concat(),
            Malformed::DataAfterClientHello,
            15,
        ),
        (
            &[&[22, 3, 1, 0, 6], &body[..], &[23, 3, 3, 0, 39]].concat(),
            Malformed::NotTls,
            11,
        ),
        (
            &[&[22, 3, 1, 0, 6], &body[..], &[22, 3, 3, 0, 0]].concat(),
            Malformed::EmptyRecord,
            15,
        ),
    ];
    for (bytes, malformed, at) in cases {
        let mut scanner = Framing::tls_client_hello().scanner_with_limit(1 << 20);
        assert_eq!(
            scanner.feed(&bytes[..*at]),
            Ok(Progress::Partial),
            "{bytes:02x?}"
        );
        assert_eq!(scanner.feed(&bytes[*at..]), Err(*malformed), "{bytes:02x?}");
        assert_eq!(
            scanner.feed(&HELLOS[1].bytes),
            Err(*malformed),
            "it must stand"
        );
    }
}

#[test]
fn records_without_end_are_refused() {
    // One byte of the message in each record.
    let mut scanner = Framing::tls_client_hello().scanner();
    let mut fed = 0;
    let malformed = [1, 0, 2, 0].iter().chain(&[0; 1000]).find_map(|byte| {
        fed += 1;
        scanner.feed(&[22, 3, 1, 0, 1, *byte]).err()
    });
    assert_eq!(malformed, Some(Malformed::TooManyRecords));
    assert_eq!(fed, 129);
}

#[test]
fn too_long_is_known_from_the_lengths() {
    let limit = FLIGHT_MAX;
    let scan = |bytes: &[u8]| Framing::tls_client_hello().scanner().feed(bytes);
    // A message of 16 MiB, known from its header.
    assert_eq!(
        scan(&[22, 3, 1, 0x40, 0, 1, 0xFF]),
        Err(Malformed::TooLong { limit })
    );
    // The same in fragments, each of which would fit.
    assert_eq!(scan(&[22, 3, 1, 0, 4, 1, 0, 0x3F]), Ok(Progress::Partial));
    assert_eq!(
        scan(&[22, 3, 1, 0, 4, 1, 0, 0x40, 0]),
        Err(Malformed::TooLong { limit })
    );
    // A record of 2^14 bytes is legal, but does not fit with its header.
    assert_eq!(
        scan(&[22, 3, 1, 0x40, 0]),
        Err(Malformed::TooLong { limit })
    );
    // With room, no message beyond 65,535 bytes, which no server takes.
    let roomy = |bytes: &[u8]| {
        Framing::tls_client_hello()
            .scanner_with_limit(usize::MAX)
            .feed(bytes)
    };
    assert_eq!(
        roomy(&[22, 3, 1, 0x40, 0, 1, 0, 0xFF, 0xFF]),
        Ok(Progress::Partial)
    );
    assert_eq!(
        roomy(&[22, 3, 1, 0x40, 0, 1, 1, 0, 0]),
        Err(Malformed::TooLong { limit: 65_535 })
    );
}

#[test]
fn the_limit_is_exact() {
    for hello in HELLOS.iter() {
        let end = acceptor(&hello.bytes).unwrap();
        let scan = |limit| {
            Framing::tls_client_hello()
                .scanner_with_limit(limit)
                .feed(&hello.bytes)
        };
        assert_eq!(scan(end), Ok(Progress::Complete(end)));
        for limit in 0..end {
            assert_eq!(
                scan(limit),
                Err(Malformed::TooLong { limit }),
                "{}",
                hello.name
            );
        }
    }
}

/// One change to a stream of bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    /// Changes a byte among the first headers, where it matters most.
    Header(usize, u8),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, mask) => *at.get_mut(bytes) ^= mask,
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Remove(at) => _ = bytes.remove(at.index(bytes.len())),
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Header(at, byte) => {
                if let Some(header) = bytes.get_mut(*at) {
                    *header = *byte;
                }
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    let small = prop_oneof![0..8_u8, any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), 1..=255_u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Truncate),
        4 => (0..10_usize, small).prop_map(|(at, byte)| Change::Header(at, byte)),
    ]
}

#[test]
fn records_of_ssl_2_and_dtls_are_refused_though_rustls_takes_them() {
    for version in [[0, 2], [0xFE, 0xFD]] {
        let mut bytes = HELLOS[0].bytes.clone();
        bytes[1..3].copy_from_slice(&version);
        assert_eq!(bytewise(&bytes), Err(Malformed::NotTls));
        assert!(acceptor(&bytes).is_some());
        judge::agrees(&bytes).expect("a listed reason");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn changed_hellos_end_where_rustls_says_or_are_refused_for_a_listed_reason(
        which in 0..HELLOS.len(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut bytes = HELLOS[which].bytes.clone();
        for change in &changes {
            change.apply(&mut bytes);
        }
        judge::agrees(&bytes).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn random_cuts_give_the_same_answer(
        which in 0..HELLOS.len(),
        changes in prop::collection::vec(change(), 0..3),
        pieces in prop::collection::vec(0..200_usize, 1..40),
    ) {
        let mut bytes = HELLOS[which].bytes.clone();
        for change in &changes {
            change.apply(&mut bytes);
        }
        cuts::every_cut_answers_alike(&Framing::tls_client_hello(), FLIGHT_MAX, &bytes, pieces)
            .map_err(TestCaseError::fail)?;
    }
}

/// What the scanner says when given one byte at a time.
fn bytewise(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut scanner = Framing::tls_client_hello().scanner();
    for (index, byte) in bytes.iter().enumerate() {
        if let Progress::Complete(end) = scanner.feed(&[*byte])? {
            assert_eq!(end, index + 1, "said too late");
            return Ok(Some(end));
        }
    }
    Ok(None)
}
