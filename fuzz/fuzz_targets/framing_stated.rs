//! Messages behind a stated length (Noise, plain prefixes, Tokens): split at
//! every byte they give the same answer, and it is that of a naive reading.
//! The first byte chooses the framing, the second a limit.

#![no_main]

#[path = "../../crates/headstart-core/tests/model/cuts.rs"]
mod cuts;

use headstart_core::framing::token::{HEADER_LEN, Header};
use headstart_core::framing::{
    ByteOrder, FLIGHT_MAX, Framing, LengthPrefix, NoiseHeader, PrefixWidth, Progress,
};
use libfuzzer_sys::fuzz_target;

const PREAMBLE: &[u8] = b"DRPC!N!1";
/// Longest input that is split at every byte; longer ones at every sixteenth.
const EVERY_BYTE_MAX: usize = 256;

/// What a naive reader takes in of a header.
enum Stated {
    /// The header is not whole.
    Unknown,
    Wrong,
    /// Bytes of header and body.
    Length(usize),
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, limit, bytes @ ..] = bytes else {
        return;
    };
    let limit = match limit {
        0..128 => FLIGHT_MAX,
        limit => usize::from(limit - 128),
    };
    let (framing, stated) = choose(choice % 32, bytes);
    let framing = match choice / 32 {
        0 => framing.after(PREAMBLE).expect("a short preamble"),
        _ => framing,
    };
    let preamble = if choice / 32 == 0 { PREAMBLE.len() } else { 0 };
    let bytes = match preamble {
        0 => bytes.to_vec(),
        _ => [PREAMBLE, bytes].concat(),
    };
    let answer = framing.scanner_with_limit(limit).feed(&bytes).ok();
    let expected = match stated {
        Stated::Unknown => Some(Progress::Partial),
        Stated::Wrong => None,
        Stated::Length(length) if preamble + length > limit => None,
        Stated::Length(length) if preamble + length <= bytes.len() => {
            Some(Progress::Complete(preamble + length))
        }
        Stated::Length(_) => Some(Progress::Partial),
    };
    // What cannot fit is refused before it is known to be wrong, or how long.
    let refused_early = answer.is_none() && matches!(stated, Stated::Unknown);
    assert!(
        answer == expected || refused_early,
        "{framing:?} with limit {limit}: {answer:?} of {bytes:02x?}"
    );
    let every = 1 + bytes.len() / EVERY_BYTE_MAX * 15;
    for at in (0..=bytes.len()).step_by(every) {
        cuts::every_cut_answers_alike(&framing, limit, &bytes, [at]).expect("in two");
    }
    let bytewise = std::iter::repeat_n(1, bytes.len());
    cuts::every_cut_answers_alike(&framing, limit, &bytes, bytewise).expect("byte by byte");
});

/// A framing, and what its header states.
fn choose(choice: u8, bytes: &[u8]) -> (Framing, Stated) {
    match choice {
        0..4 => (
            Framing::noise(NoiseHeader::Len16),
            number(bytes, 2, true, 0),
        ),
        4..8 => {
            let stated = match bytes {
                [] => Stated::Unknown,
                [0x80, rest @ ..] => match number(rest, 3, true, 0) {
                    Stated::Length(length) => Stated::Length(1 + length),
                    other => other,
                },
                _ => Stated::Wrong,
            };
            (Framing::noise(NoiseHeader::Storj), stated)
        }
        8..14 => {
            let stated = match bytes.first_chunk::<HEADER_LEN>().map(Header::decode) {
                Some(Ok(header)) => Stated::Length(HEADER_LEN + usize::from(header.flight_len)),
                Some(Err(_)) => Stated::Wrong,
                None => Stated::Unknown,
            };
            (Framing::token(), stated)
        }
        _ => {
            let (width, bytes_of_it) = match choice % 3 {
                0 => (PrefixWidth::One, 1),
                1 => (PrefixWidth::Two, 2),
                _ => (PrefixWidth::Four, 4),
            };
            let big = choice & 1 == 0;
            let counts_itself = choice & 2 == 0;
            let prefix = LengthPrefix {
                width,
                order: if big {
                    ByteOrder::Big
                } else {
                    ByteOrder::Little
                },
                counts_itself,
            };
            let counted = if counts_itself { bytes_of_it } else { 0 };
            let stated = number(bytes, bytes_of_it, big, counted);
            (Framing::length_prefixed(prefix), stated)
        }
    }
}

/// What a number of this width states, of which so much counts itself.
fn number(bytes: &[u8], width: usize, big: bool, counted: usize) -> Stated {
    let Some(digits) = bytes.get(..width) else {
        return Stated::Unknown;
    };
    let mut digits = digits.to_vec();
    if !big {
        digits.reverse();
    }
    let number = digits
        .iter()
        .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
    match number.checked_sub(counted) {
        None | Some(0) => Stated::Wrong,
        Some(body) => Stated::Length(width + body),
    }
}
