//! Digests: the same however a message is cut, and shown to nobody.

use std::collections::HashSet;

use headstart_core::debounce::{Digest, SECRET_LEN, Secret};
use proptest::prelude::*;

/// Not secret, but without regularity.
fn secret(seed: u64) -> Secret {
    let mut state = seed;
    Secret::from_bytes(&std::array::from_fn::<u8, SECRET_LEN, _>(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        (state >> 56) as u8
    }))
}

fn message(len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index * index + index / 7) as u8)
        .collect()
}

#[test]
fn every_length_and_every_cut_gives_the_same_digest() {
    let secret = secret(1);
    let message = message(1024);
    let mut seen = HashSet::new();
    for len in 0..=message.len() {
        let whole = secret.digest(&message[..len]);
        assert!(seen.insert(whole), "length {len}");
        // All cuts up to 300 bytes, where XXH3 has its special cases.
        let step = if len <= 300 { 1 } else { 13 };
        for at in (0..=len).step_by(step) {
            let mut hasher = secret.hasher();
            hasher.update(&message[..at]);
            hasher.update(&message[at..len]);
            assert_eq!(hasher.digest(), whole, "length {len} cut at {at}");
        }
    }
}

#[test]
fn more_may_follow_a_digest() {
    let secret = secret(1);
    let message = message(700);
    let mut hasher = secret.hasher();
    for len in 0..message.len() {
        assert_eq!(hasher.digest(), secret.digest(&message[..len]));
        hasher.update(&message[len..=len]);
    }
}

#[test]
fn secrets_make_digests_differ_at_every_length() {
    let (one, two) = (secret(1), secret(2));
    for len in 0..=1024 {
        assert_ne!(
            one.digest(&message(len)),
            two.digest(&message(len)),
            "length {len}"
        );
    }
}

#[test]
fn every_bit_of_a_message_counts() {
    let secret = secret(3);
    for len in [1, 3, 8, 16, 17, 128, 129, 240, 241, 600] {
        let mut message = message(len);
        let digest = secret.digest(&message);
        for bit in 0..len * 8 {
            message[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(secret.digest(&message), digest, "bit {bit} of {len} bytes");
            message[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn d4_nothing_shows_a_digest_or_a_secret() {
    let digest = Digest::from_bits(u128::MAX);
    assert_eq!(
        format!("{digest:?} {digest} {digest:#?}"),
        "Digest(..) (digest) Digest(..)"
    );
    assert_eq!(format!("{:?}", secret(1)), "Secret(..)");
    assert_eq!(format!("{:?}", secret(1).hasher()), "MessageHasher(..)");
}

#[test]
fn d5_shards_are_even_and_stay_so_within_each() {
    let secret = secret(4);
    for shards in [1, 2, 3, 7, 16, 100] {
        let mut counts = vec![0_usize; shards];
        let per_shard = 2_000;
        for number in 0..shards * per_shard {
            counts[secret.digest(&number.to_le_bytes()).shard(shards)] += 1;
        }
        for count in counts {
            assert!(
                count.abs_diff(per_shard) < per_shard / 6,
                "{count} of {per_shard}"
            );
        }
    }
    assert_eq!(secret.digest(b"x").shard(0), 0);
    assert!(secret.digest(b"x").shard(usize::MAX) < usize::MAX);
}

proptest! {
    #[test]
    fn random_cuts_of_long_messages_give_the_same_digest(
        message in prop::collection::vec(any::<u8>(), 0..20_000),
        pieces in prop::collection::vec(0..3_000_usize, 0..30),
    ) {
        let secret = secret(5);
        let mut hasher = secret.hasher();
        let mut rest = message.as_slice();
        for piece in pieces {
            let (piece, tail) = rest.split_at(piece.min(rest.len()));
            hasher.update(piece);
            rest = tail;
        }
        hasher.update(rest);
        prop_assert_eq!(hasher.digest(), secret.digest(&message));
    }
}
