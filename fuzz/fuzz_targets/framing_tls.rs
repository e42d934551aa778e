//! ClientHellos: every cut gives the same answer, and the end is where rustls
//! says. The first bytes say where to cut; the last of them, which limit.

#![no_main]

#[path = "../../crates/headstart-core/tests/model/cuts.rs"]
mod cuts;
#[path = "../../crates/headstart-core/tests/model/rustls_judge.rs"]
mod judge;

use headstart_core::framing::{FLIGHT_MAX, Framing};
use libfuzzer_sys::fuzz_target;

/// Bytes of an input that say how to cut the others.
const CUTS: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let Some((cuts, bytes)) = bytes.split_first_chunk::<CUTS>() else {
        return;
    };
    let framing = Framing::tls_client_hello();
    let limit = match cuts[CUTS - 1] {
        0..128 => FLIGHT_MAX,
        limit => usize::from(limit - 128) * 8,
    };
    let pieces = cuts.map(usize::from);
    let bytewise = std::iter::repeat_n(1, bytes.len());
    cuts::every_cut_answers_alike(&framing, limit, bytes, pieces).expect("in pieces");
    cuts::every_cut_answers_alike(&framing, limit, bytes, bytewise).expect("byte by byte");
    judge::agrees(bytes).expect("as rustls");
});
