//! P1 to P3: what a server keeps open for copies.

use std::time::Duration;

use headstart_core::pair::{LINGER, MEMBERS_MAX};

use super::Found;
use super::ends::{died, ended_early, is_a_matter_of_moments_alone, is_forced, is_starved};
use crate::app::ReadEnd;
use crate::gate::PairDriver;
use crate::host::{Accepted, Kept};
use crate::rules::Violation;
use crate::run::Finished;
use crate::scenario::Act;
use crate::tcp::nanos;
use crate::world::{Flow, World};

/// Who leaves sooner has not waited for all there is to wait for.
pub(super) const PATIENCE: Duration = Duration::from_secs(250);

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    if run.scenario.server.pairing.is_none() {
        return;
    }
    p1_the_whole_answer_by_any_path(run, found);
    p1_who_won_was_heard(run, found);
    p2_each_byte_is_read_once(&run.world, run.upload, found);
}

/// If the path of any member works both ways, the client gets the whole answer,
/// unless what it has chosen itself has died since.
fn p1_the_whole_answer_by_any_path(run: &Finished<'_>, found: &mut Found) {
    let answer = run.scenario.server.answer as usize;
    let client = &run.scenario.client;
    let waits = client.script.contains(&Act::AwaitEnd) && client.patience >= PATIENCE;
    if is_starved(run) || ended_early(run) {
        return;
    }
    if !waits || answer == 0 || is_a_matter_of_moments_alone(run) {
        return;
    }
    for kept in &run.world.host.pairs {
        let first = run.world.host.accepted.get(kept.place);
        // Beyond the bounds a copy is a duplicate, as to a first-come server.
        let whole = !kept.lacks_a_copy() && !is_given_up(&run.world, kept);
        let Some(first) = first.filter(|first| first.handler.answers && whole) else {
            continue;
        };
        let copied = |flow: &Flow| brought_a_copy(run, kept, first, flow);
        let works = run
            .world
            .flows
            .iter()
            .any(|flow| copied(flow) && works_both_ways(flow));
        // A sole survivor is nobody's choice.
        let chose = |flow: &Flow| flow.reply_came.is_some() || is_forced(run);
        let went = run
            .won()
            .is_none_or(|flow| !chose(flow) || copied(flow) && works_both_ways(flow));
        let whole = run.app.read.len() == answer && run.app.read_end == Some(ReadEnd::Eof);
        found.require(whole || !works || !went, "P1", || {
            format!(
                "a copy's path works, and {} bytes of {answer} were read, {:?}",
                run.app.read.len(),
                run.app.read_end
            )
        });
    }
}

/// A member is said to have won only where the client has heard from it, if the
/// client has chosen one that it heard from. Of a client that goes before the
/// end, by RST, another member may be left as the connection; no answer at all is
/// had by every client that has ended; and where every path dies, nobody can know.
fn p1_who_won_was_heard(run: &Finished<'_>, found: &mut Found) {
    let world = &run.world;
    let flow_of = |socket: usize| world.flows.get(world.sockets.get(socket)?.flow);
    let stayed = run.app.read_end == Some(ReadEnd::Eof) && run.scenario.server.answer > 0;
    let Some(kept_one) = run.won().filter(|flow| flow.reply_came.is_some() && stayed) else {
        return;
    };
    for kept in &world.host.pairs {
        let is_member =
            |socket: &usize| flow_of(*socket).is_some_and(|flow| flow.client == kept_one.client);
        let Some(winner) = kept.winner().and_then(flow_of) else {
            continue;
        };
        let mut members = kept.members.iter().filter_map(|socket| flow_of(*socket));
        if !members.any(works_both_ways) {
            continue;
        }
        let heard = winner.reply_came.is_some() || !kept.members.iter().any(is_member);
        found.require(heard, "P1", || {
            let kind = kept_one.kind;
            format!(
                "the client keeps {kind}, and {} is said to have won",
                winner.kind
            )
        });
    }
}

/// Whether packets come through, and nothing but a late reset is known not to.
pub(super) fn works_both_ways(flow: &Flow) -> bool {
    !died(flow) && (flow.lost_back == 0 || flow.reply_came.is_some())
}

/// Whether a pair's message came by this way too, within the window.
fn brought_a_copy(run: &Finished<'_>, kept: &Kept, first: &Accepted, flow: &Flow) -> bool {
    let ends = &run.world.sockets;
    let window = kept.began.saturating_add(run.world.pair_window());
    run.world.host.accepted.iter().any(|accepted| {
        let (Some(end), Some(at)) = (ends.get(accepted.socket), accepted.decided) else {
            return false;
        };
        let mine = run.world.flows.get(end.flow);
        let here = ends.get(first.socket).map(|end| end.server) == Some(end.server);
        accepted.message == first.message
            && here
            && (kept.began..window).contains(&at)
            && mine.is_some_and(|mine| mine.client == flow.client)
    })
}

/// The application reads what was written, each byte once and in order.
pub(super) fn p2_each_byte_is_read_once(world: &World<'_>, upload: &[u8], found: &mut Found) {
    let header = world.scenario.client.statement.header_len();
    for accepted in &world.host.accepted {
        let Some((length, _)) = accepted.message.filter(|_| accepted.called.is_some()) else {
            continue;
        };
        let rest = (length as usize).checked_sub(header);
        let rest = rest.and_then(|from| upload.get(from..));
        let right = rest.is_some_and(|rest| rest.starts_with(&accepted.handler.got));
        found.require(right, "P2", || {
            let got = accepted.handler.got.len();
            format!("the {got} bytes read beyond the message are not those that follow it")
        });
    }
}

/// P3: pairs keep their bounds at every moment.
pub(super) fn at_rest(world: &World<'_>) -> Result<(), Violation> {
    let Some(pairing) = &world.scenario.server.pairing else {
        return Ok(());
    };
    let broken = |text: String| Err(Violation::new("P3", world.now, text));
    for server in 0..2 {
        let bytes = bytes_of_pairs(world, server);
        if bytes > pairing.bytes_max {
            return broken(format!("pairs take {bytes} bytes of {}", pairing.bytes_max));
        }
        let open = world.pairs_of(server);
        if open > pairing.pairs_max {
            return broken(format!("{open} pairs of {}", pairing.pairs_max));
        }
    }
    for kept in world.host.pairs.iter().filter(|kept| !kept.settled) {
        let Some((length, members)) = look(kept) else {
            return broken("the driver does not show its pair".to_owned());
        };
        if length > pairing.log_max {
            return broken(format!("the log holds {length} of {}", pairing.log_max));
        }
        if members > MEMBERS_MAX {
            return broken(format!("{members} members"));
        }
        if due_at(world, kept).is_some_and(|due| world.now > due) {
            return broken("a pair outlives its application's patience".to_owned());
        }
    }
    Ok(())
}

/// What the pairs of a server hold at least: their first messages, and what is
/// kept of their answers.
fn bytes_of_pairs(world: &World<'_>, server: usize) -> usize {
    let held = |kept: &Kept| {
        let first = world.host.accepted.get(kept.place)?;
        let end = world.sockets.get(first.socket)?;
        let (message, _) = first.message?;
        let here = end.server == server && !kept.settled;
        here.then(|| {
            look(kept)
                .map_or(0, |(length, _)| length)
                .saturating_add(message as usize)
        })
    };
    world.host.pairs.iter().filter_map(held).sum()
}

/// When a pair is settled at the latest, once its application is gone.
fn due_at(world: &World<'_>, kept: &Kept) -> Option<u64> {
    let window = kept.began.saturating_add(world.pair_window());
    Some(window.max(kept.abandoned?).saturating_add(nanos(LINGER)))
}

/// Whether its members were closed when all patience had ended, whatever they
/// had to deliver.
pub(super) fn is_given_up(world: &World<'_>, kept: &Kept) -> bool {
    let due = due_at(world, kept);
    due.is_some() && kept.settled_at >= due
}

fn look(kept: &Kept) -> Option<(usize, usize)> {
    let mut seen = None;
    kept.driver.as_ref()?.look(&mut |pair| {
        seen = Some((pair.log_len(), pair.joined()));
    });
    seen
}

/// When nothing will ever happen, no pair has been forgotten.
pub(crate) fn at_end(world: &mut World<'_>) -> Result<(), Violation> {
    for pair in 0..world.host.pairs.len() {
        let kept = world.host.pairs.get(pair).filter(|kept| !kept.settled);
        let Some(kept) = kept else {
            continue;
        };
        if kept.abandoned.is_some() {
            let text = "nothing will ever happen, and a pair that was dropped is not settled";
            return Err(Violation::new("P3", world.now, text));
        }
        let packets = world.counters.packets;
        world.with_pair(pair, |driver: &mut dyn PairDriver, world| {
            driver.wake(world)
        });
        let woken = !world.called.is_empty();
        if woken || world.counters.packets != packets {
            let text = "a wake-up of a pair was lost";
            return Err(Violation::new("R16", world.now, text));
        }
    }
    Ok(())
}
