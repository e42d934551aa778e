//! Clients that are not ours, on bare sockets: whatever they do with two live
//! copies, each byte is heard once, and the one that they use gets everything.

use std::io;
use std::time::Duration;

use headstart_lab::Rule;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{Outcome, ensure, on_client};
use crate::copies::{
    Heard, Manner, Wire, end_of, fast_open, hear, is_reset, lab, plain, server, token,
};
use crate::harness::{lock, tests, until};
use crate::story::bytes_of;

tests![
    a_loser_closed_by_fin_takes_nothing_with_it,
    a_half_closed_winner_gets_its_answer,
    both_may_stay_open_for_a_while,
    bytes_copied_beyond_the_message_are_heard_once,
    a_copy_that_is_behind_catches_up,
    more_copies_join_and_a_fifth_is_reset,
    another_message_is_another_connection,
];

const RTT: Duration = Duration::from_millis(20);
const ANSWER: &[u8] = b"an answer";
const ANSWERS: Manner = Manner {
    answer: ANSWER,
    after_end: false,
    drops: false,
};

/// The copies of a message, the one that the client goes on with first.
fn order(plain_wins: bool, plain: TcpStream, fast_open: TcpStream) -> (TcpStream, TcpStream) {
    match plain_wins {
        true => (plain, fast_open),
        false => (fast_open, plain),
    }
}

fn every_way() -> impl Iterator<Item = (Wire, bool)> {
    Wire::ALL
        .into_iter()
        .flat_map(|wire| [true, false].map(|plain_wins| (wire, plain_wins)))
}

fn whole(bytes: &[u8]) -> Heard {
    Heard {
        bytes: bytes.to_vec(),
        end: Some(Ok(())),
    }
}

fn a_loser_closed_by_fin_takes_nothing_with_it() -> Outcome {
    for (wire, plain_wins) in every_way() {
        let lab = lab(RTT, Rule::Transparent)?;
        let (server, ear) = server(&lab, wire, ANSWERS, |gate| gate)?;
        let message = wire.message(1);
        on_client(&lab, async || {
            let fast_open = fast_open(server.address, &message)?;
            let plain = plain(server.address, &message).await?;
            let (mut winner, mut loser) = order(plain_wins, plain, fast_open);
            hear(&mut loser, ANSWER).await?;
            hear(&mut winner, ANSWER).await?;
            // Everything is read: this is a FIN.
            drop(loser);
            sleep(RTT * 2).await;
            winner.write_all(b"more").await?;
            hear(&mut winner, b".").await?;
            winner.shutdown().await?;
            end_of(&mut winner).await
        })
        .map_err(|error| format!("{wire:?}, plain wins: {plain_wins}: {error}"))?;
        let heard = lock(&ear).clone();
        ensure!(heard == [whole(b"more")], "{wire:?}: {heard:?}");
    }
    Ok(())
}

fn a_half_closed_winner_gets_its_answer() -> Outcome {
    let answer = bytes_of(1, 300_000);
    let manner = Manner {
        answer,
        after_end: true,
        drops: false,
    };
    for (wire, plain_wins) in every_way() {
        let lab = lab(RTT, Rule::Transparent)?;
        let (server, ear) = server(&lab, wire, manner, |gate| gate)?;
        let message = wire.message(1);
        on_client(&lab, async || {
            let fast_open = fast_open(server.address, &message)?;
            let plain = plain(server.address, &message).await?;
            let (mut winner, loser) = order(plain_wins, plain, fast_open);
            // The other stays open, and nobody says what for.
            winner.shutdown().await?;
            hear(&mut winner, answer).await?;
            end_of(&mut winner).await?;
            drop(loser);
            Ok(())
        })
        .map_err(|error| format!("{wire:?}, plain wins: {plain_wins}: {error}"))?;
        let heard = lock(&ear).clone();
        ensure!(heard == [whole(b"")], "{wire:?}: {heard:?}");
    }
    Ok(())
}

fn both_may_stay_open_for_a_while() -> Outcome {
    for plain_wins in [true, false] {
        let (wire, message) = (Wire::Tls, Wire::Tls.message(1));
        let lab = lab(RTT, Rule::Transparent)?;
        let (server, ear) = server(&lab, wire, ANSWERS, |gate| gate)?;
        on_client(&lab, async || {
            let fast_open = fast_open(server.address, &message)?;
            let plain = plain(server.address, &message).await?;
            let (mut winner, mut loser) = order(plain_wins, plain, fast_open);
            hear(&mut winner, ANSWER).await?;
            hear(&mut loser, ANSWER).await?;
            // Longer than anything ambiguous is given to clear up.
            sleep(Duration::from_millis(1500)).await;
            winner.write_all(b"more").await?;
            hear(&mut winner, b".").await?;
            // Nobody copies any more: this one is not needed.
            hear(&mut loser, b".").await.ok();
            assert!(is_reset(&mut loser).await, "the loser is kept");
            winner.shutdown().await?;
            end_of(&mut winner).await
        })
        .map_err(|error| format!("plain wins: {plain_wins}: {error}"))?;
        let heard = lock(&ear).clone();
        ensure!(heard == [whole(b"more")], "{heard:?}");
    }
    Ok(())
}

fn bytes_copied_beyond_the_message_are_heard_once() -> Outcome {
    let bytes = bytes_of(3, 60_000);
    for (wire, plain_wins) in every_way() {
        let lab = lab(RTT, Rule::Transparent)?;
        let (server, ear) = server(&lab, wire, ANSWERS, |gate| gate)?;
        let message = wire.message(1);
        on_client(&lab, async || {
            let fast_open = fast_open(server.address, &message)?;
            // Some of it comes with the message.
            let first = [&message, &bytes[..500]].concat();
            let plain = plain(server.address, &first).await?;
            let (mut winner, mut loser) = order(plain_wins, plain, fast_open);
            hear(&mut winner, ANSWER).await?;
            hear(&mut loser, ANSWER).await?;
            let behind = if plain_wins { &mut loser } else { &mut winner };
            behind.write_all(&bytes[..500]).await?;
            for piece in bytes[500..40_000].chunks(3_700) {
                winner.write_all(piece).await?;
                loser.write_all(piece).await?;
                sleep(Duration::from_millis(3)).await;
            }
            headstart_socket::close_abortively(loser)?;
            winner.write_all(&bytes[40_000..]).await?;
            winner.shutdown().await?;
            // As many dots as the application has read pieces.
            while end_of(&mut winner)
                .await
                .is_err_and(|e| e.kind() == io::ErrorKind::Other)
            {}
            Ok(())
        })
        .map_err(|error| format!("{wire:?}, plain wins: {plain_wins}: {error}"))?;
        until("an end", || lock(&ear)[0].end.is_some())?;
        let heard = lock(&ear).clone();
        ensure!(
            heard == [whole(bytes)],
            "{wire:?}, plain wins: {plain_wins}: {} bytes, {:?}",
            heard[0].bytes.len(),
            heard[0].end
        );
    }
    Ok(())
}

/// One copy has more of what follows the message when the other takes over.
fn a_copy_that_is_behind_catches_up() -> Outcome {
    let (wire, message) = (Wire::Token, Wire::Token.message(1));
    let lab = lab(RTT, Rule::Transparent)?;
    let (server, ear) = server(&lab, wire, ANSWERS, |gate| gate)?;
    on_client(&lab, async || {
        let mut ahead = fast_open(server.address, &message)?;
        let mut behind = plain(server.address, &message).await?;
        hear(&mut ahead, ANSWER).await?;
        hear(&mut behind, ANSWER).await?;
        behind.write_all(b"one ").await?;
        ahead.write_all(b"one two ").await?;
        sleep(RTT * 2).await;
        headstart_socket::close_abortively(ahead)?;
        sleep(RTT * 2).await;
        behind.write_all(b"two three").await?;
        behind.shutdown().await?;
        // As many dots as the application has read pieces.
        while end_of(&mut behind)
            .await
            .is_err_and(|e| e.kind() == io::ErrorKind::Other)
        {}
        Ok(())
    })?;
    until("an end", || lock(&ear)[0].end.is_some())?;
    let heard = lock(&ear).clone();
    ensure!(heard == [whole(b"one two three")], "{heard:?}");
    Ok(())
}

fn more_copies_join_and_a_fifth_is_reset() -> Outcome {
    for wire in Wire::ALL {
        let lab = lab(RTT, Rule::Transparent)?;
        let (server, ear) = server(&lab, wire, ANSWERS, |gate| gate)?;
        let message = wire.message(1);
        on_client(&lab, async || {
            let mut copies = vec![fast_open(server.address, &message)?];
            for _ in 0..3 {
                copies.push(plain(server.address, &message).await?);
            }
            for copy in &mut copies {
                hear(copy, ANSWER).await?;
            }
            let mut fifth = plain(server.address, &message).await?;
            assert!(is_reset(&mut fifth).await, "{wire:?}: a fifth copy");
            // The last of them is the one.
            let mut last = copies.pop().expect("four copies");
            last.write_all(b"this one").await?;
            hear(&mut last, b".").await?;
            last.shutdown().await?;
            end_of(&mut last).await
        })?;
        let heard = lock(&ear).clone();
        ensure!(heard == [whole(b"this one")], "{wire:?}: {heard:?}");
        let counters = server.stop()?;
        ensure!(
            (counters.joined, counters.duplicates) == (3, 1),
            "{wire:?}: {counters:?}"
        );
    }
    Ok(())
}

/// The digest is of the whole message, not of the Token's random bytes alone.
fn another_message_is_another_connection() -> Outcome {
    let lab = lab(RTT, Rule::Transparent)?;
    let (server, ear) = server(&lab, Wire::Token, ANSWERS, |gate| gate)?;
    on_client(&lab, async || {
        let mut one = fast_open(server.address, &token(1, true, b"one"))?;
        let mut other = plain(server.address, &token(1, true, b"other")).await?;
        let mut flags = plain(server.address, &token(1, false, b"one")).await?;
        for stream in [&mut one, &mut other, &mut flags] {
            hear(stream, ANSWER).await?;
            stream.shutdown().await?;
            end_of(stream).await?;
        }
        Ok(())
    })?;
    let heard = lock(&ear).clone();
    ensure!(heard == [whole(b""), whole(b""), whole(b"")], "{heard:?}");
    ensure!(server.stop()?.joined == 0, "joined");
    Ok(())
}
