//! What must hold of every framing, however its bytes are cut. For tests and
//! for the fuzzer.
#![allow(dead_code, unreachable_pub, missing_docs)]

use headstart_core::framing::{Framing, Progress};

/// Asserts that pieces of these lengths, and then the rest, are answered like
/// the whole at once, and that no answer reaches beyond the bytes or the limit.
pub fn every_cut_answers_alike(
    framing: &Framing,
    limit: usize,
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> Result<(), String> {
    let mut whole = framing.scanner_with_limit(limit);
    let answer = whole.feed(bytes);
    let mut pieced = framing.scanner_with_limit(limit);
    let mut rest = bytes;
    for piece in pieces {
        let (piece, tail) = rest.split_at(piece.min(rest.len()));
        let early = pieced.feed(piece);
        if early != Ok(Progress::Partial) && early != answer {
            return Err(format!("{early:?} of a part, {answer:?} of the whole"));
        }
        rest = tail;
    }
    let last = pieced.feed(rest);
    let consumed = whole.consumed();
    if last != answer || pieced.consumed() != consumed {
        let after = pieced.consumed();
        return Err(format!(
            "in pieces {last:?} after {after}, at once {answer:?} after {consumed}"
        ));
    }
    let right = consumed <= limit.min(bytes.len())
        && match answer {
            Ok(Progress::Complete(end)) => end == consumed,
            Ok(Progress::Partial) => bytes.len() == consumed,
            Err(_) => true,
        };
    match right {
        true => Ok(()),
        false => Err(format!(
            "{answer:?} of {} bytes, {consumed} consumed, limit {limit}",
            bytes.len()
        )),
    }
}
