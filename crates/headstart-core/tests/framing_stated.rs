//! Messages behind a header that states their length: Noise, plain length
//! prefixes, tokens; and what all framings have in common.

#[path = "model/cuts.rs"]
mod cuts;

use headstart_core::framing::token::{self, Header, Id};
use headstart_core::framing::{
    ByteOrder, FLIGHT_MAX, Framing, LengthPrefix, Malformed, NoiseHeader, PREAMBLE_MAX,
    PreambleTooLong, PrefixWidth, Progress, Scanner,
};
use proptest::prelude::*;

#[test]
fn first_messages_of_real_noise_handshakes_end_where_they_end() {
    for pattern in ["XX", "IK", "NK", "IKpsk1"] {
        for payload in [&b""[..], b"hello", &[7; 1200]] {
            let message = noise_message(pattern, payload);
            let length = u16::try_from(message.len()).unwrap();
            let len16 = [&length.to_be_bytes(), message.as_slice()].concat();
            ends_at_its_end(&Framing::noise(NoiseHeader::Len16), &len16);

            let [high, low] = length.to_be_bytes();
            let storj = [&[0x80, 0, high, low], message.as_slice()].concat();
            ends_at_its_end(&Framing::noise(NoiseHeader::Storj), &storj);

            let framing = Framing::noise(NoiseHeader::Storj)
                .after(b"DRPC!N!1")
                .unwrap();
            ends_at_its_end(&framing, &[b"DRPC!N!1", storj.as_slice()].concat());
        }
    }
}

#[test]
fn noise_headers_are_checked() {
    let scan = |header, bytes: &[u8]| Framing::noise(header).scanner().feed(bytes);
    let limit = FLIGHT_MAX;
    for (header, bytes, malformed) in [
        (NoiseHeader::Len16, &[0, 0][..], Malformed::ZeroLength),
        (
            NoiseHeader::Len16,
            &[0xFF, 0xFF],
            Malformed::TooLong { limit },
        ),
        (NoiseHeader::Storj, &[0x80, 0, 0, 0], Malformed::ZeroLength),
        (NoiseHeader::Storj, &[0x81], Malformed::NotNoise),
        (NoiseHeader::Storj, b"DRPC!!!1", Malformed::NotNoise),
        (
            NoiseHeader::Storj,
            &[0x80, 0xFF, 0, 0],
            Malformed::TooLong { limit },
        ),
    ] {
        assert_eq!(scan(header, bytes), Err(malformed), "{bytes:02x?}");
    }
}

#[test]
fn the_shortest_message_fits_in_its_own_length_and_no_less() {
    let prefix = |width| {
        Framing::length_prefixed(LengthPrefix {
            width,
            order: ByteOrder::Big,
            counts_itself: false,
        })
    };
    let token = Header {
        id: Id([7; 16]),
        flight_len: 0,
        resets_losers: false,
    };
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41][..], &[0; 41]].concat();
    for (framing, message) in [
        (Framing::noise(NoiseHeader::Len16), vec![0, 1, 9]),
        (Framing::noise(NoiseHeader::Storj), vec![0x80, 0, 0, 1, 9]),
        (prefix(PrefixWidth::One), vec![1, 9]),
        (prefix(PrefixWidth::Four), vec![0, 0, 0, 1, 9]),
        (
            Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP),
            vec![0, 0, 0, 5, 9],
        ),
        (Framing::token(), token.encode().to_vec()),
        (Framing::tls_client_hello(), hello),
    ] {
        let behind = framing.clone().after(b"PRE!").unwrap();
        for (framing, preamble) in [(framing, &b""[..]), (behind, b"PRE!")] {
            let message = [preamble, &message].concat();
            let least = message.len();
            assert_eq!(framing.message_min(), least, "{framing:?}");
            let scan = |limit| framing.scanner_with_limit(limit).feed(&message);
            assert_eq!(scan(least), Ok(Progress::Complete(least)), "{framing:?}");
            let limit = least - 1;
            assert_eq!(
                scan(limit),
                Err(Malformed::TooLong { limit }),
                "{framing:?}"
            );
        }
    }
}

#[test]
fn a_tokens_header_is_behind_the_preamble() {
    let token = Framing::token();
    assert_eq!(token.token_at(), Some(0));
    assert_eq!(token.assert_unique().token_at(), Some(0));
    let behind = Framing::token().after(b"PRE!").unwrap();
    assert_eq!(behind.token_at(), Some(4));
    assert_eq!(behind.after(b"and ").unwrap().token_at(), Some(8));
    for other in [
        Framing::tls_client_hello(),
        Framing::noise(NoiseHeader::Len16),
        Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP),
    ] {
        assert_eq!(other.token_at(), None);
    }
}

#[test]
fn length_prefixes_of_all_kinds() {
    use ByteOrder::{Big, Little};
    use PrefixWidth::{Four, One, Two};
    for (width, order, counts_itself, message) in [
        (One, Big, false, &b"\x03abc"[..]),
        (One, Little, true, b"\x04abc"),
        (Two, Big, false, b"\0\x03abc"),
        (Two, Little, false, b"\x03\0abc"),
        (Two, Big, true, b"\0\x05abc"),
        (Four, Big, false, b"\0\0\0\x03abc"),
        (Four, Little, true, b"\x07\0\0\0abc"),
    ] {
        let prefix = LengthPrefix {
            width,
            order,
            counts_itself,
        };
        ends_at_its_end(&Framing::length_prefixed(prefix), message);
    }
}

#[test]
fn length_prefixes_that_cover_nothing_are_malformed() {
    let scan = |bytes: &[u8]| {
        Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP)
            .scanner()
            .feed(bytes)
    };
    for length in 0..=4 {
        assert_eq!(scan(&[0, 0, 0, length]), Err(Malformed::ZeroLength));
    }
    assert_eq!(scan(&[0, 0, 0, 5]), Ok(Progress::Partial));
    let malformed = Malformed::TooLong { limit: FLIGHT_MAX };
    assert_eq!(scan(&[0xFF; 4]), Err(malformed));
    assert_eq!(scan(&[0, 0, 0x40, 1]), Err(malformed));
    assert_eq!(scan(&[0, 0, 0x40, 0]), Ok(Progress::Partial));
}

#[test]
fn a_postgres_startup_message_ends_at_its_end() {
    let message = b"\0\0\0\x12\0\x03\0\0user\0bob\0\0";
    ends_at_its_end(
        &Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP),
        message,
    );
}

#[test]
fn only_length_prefixes_are_not_unique_by_nature() {
    let prefixed = Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP);
    assert!(!prefixed.is_unique());
    assert!(!prefixed.clone().after(b"x").unwrap().is_unique());
    assert!(prefixed.assert_unique().is_unique());
    assert!(Framing::tls_client_hello().is_unique());
    assert!(Framing::noise(NoiseHeader::Len16).is_unique());
    assert!(Framing::token().is_unique());
    assert_eq!(Framing::token(), Framing::token().assert_unique());
}

#[test]
fn a_token_and_its_flight_are_the_first_message() {
    for flight in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 16_360]] {
        let header = header(flight.len() as u16, true).encode();
        ends_at_its_end(&Framing::token(), &[&header, flight].concat());
    }
    let too_long = header(16_361, false).encode();
    let malformed = Malformed::TooLong { limit: FLIGHT_MAX };
    assert_eq!(Framing::token().scanner().feed(&too_long), Err(malformed));
}

#[test]
fn tokens_come_back_as_they_went() {
    for resets_losers in [false, true] {
        for flight_len in [0, 1, 255, 256, u16::MAX] {
            let header = header(flight_len, resets_losers);
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }
}

#[test]
fn tokens_have_the_documented_bytes() {
    let bytes = header(0x0102, true).encode();
    assert_eq!(bytes[..8], [0xF5, b'H', b'S', b'T', 1, 1, 1, 2]);
    assert_eq!(bytes[8..], [0xA5; 16]);
}

#[test]
fn wrong_tokens_are_refused_by_the_first_wrong_byte() {
    let good = header(3, false).encode();
    for (at, byte, malformed) in [
        (0, 0x16, Malformed::NotToken),
        (1, b'h', Malformed::NotToken),
        (2, b's', Malformed::NotToken),
        (3, b'U', Malformed::NotToken),
        (4, 0, Malformed::TokenVersion(0)),
        (4, 2, Malformed::TokenVersion(2)),
        (5, 2, Malformed::TokenFlags(2)),
        (5, 0x81, Malformed::TokenFlags(0x81)),
    ] {
        let mut bad = good;
        bad[at] = byte;
        assert_eq!(Header::decode(&bad), Err(malformed));
        let mut scanner = Framing::token().scanner();
        assert_eq!(scanner.feed(&bad[..at]), Ok(Progress::Partial));
        assert_eq!(scanner.feed(&bad[at..=at]), Err(malformed));
        assert_eq!(scanner.consumed(), at);
    }
}

#[test]
fn no_other_protocol_begins_like_a_token() {
    let openings: [&[u8]; 12] = [
        &[0x16, 3, 1],
        b"GET / HTTP/1.1",
        b"POST /",
        b"PRI * HTTP/2.0",
        b"SSH-2.0-",
        b"PROXY TCP4",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"DRPC!!!1",
        b"DRPC!N!1",
        &[5, 1, 0],
        &[0x80, 0, 0, 96],
        "\u{10FFFF}".as_bytes(),
    ];
    for opening in openings {
        let malformed = Framing::token().scanner().feed(&opening[..1]);
        assert_eq!(
            malformed,
            Err(Malformed::NotToken),
            "{}",
            opening.escape_ascii()
        );
    }
    // Nor is a token taken for one of the others.
    let token = header(0, false).encode();
    for framing in [
        Framing::tls_client_hello(),
        Framing::noise(NoiseHeader::Len16),
        Framing::noise(NoiseHeader::Storj),
        Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP),
    ] {
        assert!(framing.scanner().feed(&token).is_err(), "{framing:?}");
    }
}

#[test]
fn d4_debug_never_shows_an_id() {
    let shown = format!("{:?}", header(1, true));
    assert!(shown.contains("a5a5.."), "{shown}");
    assert!(!shown.contains("a5a5a5"), "{shown}");
    assert!(!shown.contains("165, 165"), "{shown}");
}

#[test]
fn preambles_add_up_to_their_limit() {
    let framing = Framing::token()
        .after(b"inner")
        .unwrap()
        .after(b"outer")
        .unwrap();
    let message = [b"outerinner", header(0, false).encode().as_slice()].concat();
    ends_at_its_end(&framing, &message);
    assert_eq!(
        framing.scanner().feed(b"inner"),
        Err(Malformed::WrongPreamble)
    );

    let full = Framing::token().after(&[1; PREAMBLE_MAX]).unwrap();
    let error = PreambleTooLong { len: 33 };
    assert_eq!(Framing::token().after(&[1; 33]), Err(error));
    assert_eq!(full.clone().after(&[1]), Err(error));
    assert_eq!(full.clone().after(b""), Ok(full));
    assert_eq!(
        error.to_string(),
        "preamble of 33 bytes, at most 32 are supported"
    );
}

#[test]
fn too_long_counts_the_preamble_from_its_first_byte() {
    let framing = Framing::token().after(b"pre").unwrap();
    let message = [b"pre", header(0, false).encode().as_slice()].concat();
    let scan = |limit, bytes| framing.scanner_with_limit(limit).feed(bytes);
    let limit = message.len();
    assert_eq!(scan(limit, &message), Ok(Progress::Complete(limit)));
    assert_eq!(scan(limit, b"p"), Ok(Progress::Partial));
    let limit = limit - 1;
    assert_eq!(scan(limit, b"p"), Err(Malformed::TooLong { limit }));
}

#[test]
fn the_end_and_errors_stand() {
    let mut scanner = Framing::noise(NoiseHeader::Len16).scanner();
    assert_eq!(scanner.feed(&[0, 1, 9, 9, 9]), Ok(Progress::Complete(3)));
    assert_eq!(scanner.feed(&[0; 100]), Ok(Progress::Complete(3)));
    assert_eq!(scanner.feed(&[]), Ok(Progress::Complete(3)));
    assert_eq!(scanner.consumed(), 3);

    let mut scanner = Framing::noise(NoiseHeader::Len16).scanner();
    assert_eq!(scanner.feed(&[0, 0]), Err(Malformed::ZeroLength));
    assert_eq!(scanner.feed(&[0, 1, 9]), Err(Malformed::ZeroLength));
    assert_eq!(scanner.feed(&[]), Err(Malformed::ZeroLength));
}

#[test]
fn limits_that_nothing_fits_in_are_harmless() {
    for framing in framings() {
        for limit in 0..=2 {
            let mut scanner = framing.scanner_with_limit(limit);
            assert_eq!(scanner.feed(&[]), Ok(Progress::Partial));
            assert!(scanner.feed(&[0x16, 3, 1, 0]).is_err());
        }
    }
}

#[test]
fn a_scanner_is_small() {
    assert!(size_of::<Scanner>() <= 160, "{}", size_of::<Scanner>());
}

/// A stream that begins well: random bytes alone seldom get beyond a header.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let opening = prop_oneof![
        Just(Vec::new()),
        Just(vec![22, 3, 1, 0, 60, 1, 0, 0, 56]),
        Just(vec![22, 3, 3, 0, 2, 1, 0, 22, 3, 3]),
        Just(vec![0x80, 0, 0]),
        Just(b"pre".to_vec()),
        (0..40_u16).prop_map(|length| header(length, true).encode().to_vec()),
    ];
    (
        opening,
        prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..300),
    )
        .prop_map(|(opening, rest)| [opening, rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_cut_gives_the_same_answer(
        which in 0..framings().len(),
        bytes in stream(),
        pieces in prop::collection::vec(0..50_usize, 0..20),
        limit in prop_oneof![Just(FLIGHT_MAX), 0..300_usize],
    ) {
        cuts::every_cut_answers_alike(&framings()[which], limit, &bytes, pieces)
            .map_err(TestCaseError::fail)?;
    }

    #[test]
    fn tokens_decode_as_they_scan(bytes in any::<[u8; 24]>(), fix in 0..4_usize) {
        let mut bytes = bytes;
        // Random bytes hardly ever begin like a token.
        let good = header(0, false).encode();
        bytes[..fix * 2].copy_from_slice(&good[..fix * 2]);
        let scanned = Framing::token().scanner_with_limit(usize::MAX).feed(&bytes);
        prop_assert_eq!(Header::decode(&bytes).err(), scanned.err());
    }
}

/// One of each kind, and one with a preamble.
fn framings() -> Vec<Framing> {
    vec![
        Framing::tls_client_hello(),
        Framing::noise(NoiseHeader::Len16),
        Framing::noise(NoiseHeader::Storj),
        Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP),
        Framing::token(),
        Framing::tls_client_hello().after(b"pre").unwrap(),
    ]
}

/// The message must be partial up to its last byte, however it is cut, and
/// complete with it, whatever comes after.
fn ends_at_its_end(framing: &Framing, message: &[u8]) {
    let end = Ok(Progress::Complete(message.len()));
    let more = [message, b"more"].concat();
    for at in 0..message.len() {
        let mut scanner = framing.scanner();
        assert_eq!(scanner.feed(&message[..at]), Ok(Progress::Partial));
        assert_eq!(scanner.consumed(), at);
        assert_eq!(scanner.feed(&more[at..]), end);
        assert_eq!(scanner.consumed(), message.len());
    }
}

fn header(flight_len: u16, resets_losers: bool) -> Header {
    assert_eq!(token::HEADER_LEN, 24);
    Header {
        id: Id([0xA5; 16]),
        flight_len,
        resets_losers,
    }
}

/// What an initiator sends first.
fn noise_message(pattern: &str, payload: &[u8]) -> Vec<u8> {
    let name = format!("Noise_{pattern}_25519_ChaChaPoly_BLAKE2b");
    let builder = snow::Builder::new(name.parse().unwrap());
    let ours = builder.generate_keypair().unwrap();
    let theirs = builder.generate_keypair().unwrap();
    let mut builder = builder.local_private_key(&ours.private).unwrap();
    if pattern != "XX" {
        builder = builder.remote_public_key(&theirs.public).unwrap();
    }
    if pattern.contains("psk") {
        builder = builder.psk(1, &[3; 32]).unwrap();
    }
    let mut message = vec![0; 65_535];
    let len = builder
        .build_initiator()
        .unwrap()
        .write_message(payload, &mut message)
        .unwrap();
    message.truncate(len);
    message
}
