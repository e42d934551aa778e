//! D1, P1 and P2 for clients that are not ours: what a server promises to
//! whoever brings copies of one message, whatever they do with them.

use headstart_core::pair::GRACE;
use headstart_core::race::AttemptKind;

use super::pairs::{PATIENCE, is_given_up, p2_each_byte_is_read_once, works_both_ways};
use super::{Found, Violation, claims};
use crate::app::ReadEnd;
use crate::host::{Accepted, Kept};
use crate::scenario::End;
use crate::stranger::{Bare, Stranger, Wire};
use crate::stream;
use crate::tcp::{Socket, millis, nanos};
use crate::world::{Flow, World};

/// Bytes of two connections that leave at most so long after one another come
/// together, as far as a pair can tell: no way is longer by the rest of its
/// patience, if nothing is lost.
const TOGETHER: u64 = millis(500);

/// A run of a stranger that is over.
struct Met<'a> {
    world: &'a World<'a>,
    client: &'a Bare<'a>,
    stranger: &'a Stranger,
    /// What it had to say, and where its first message ended.
    bytes: Vec<u8>,
    message: usize,
}

/// One of its connections, and who had it.
struct Way<'a> {
    wire: &'a Wire,
    flow: &'a Flow,
    socket: &'a Socket,
    /// The server's end that its client knows, and as it was accepted.
    end: &'a Socket,
    accepted: &'a Accepted,
    pair: Option<&'a Kept>,
    /// Who was called for it.
    served: Option<&'a Accepted>,
}

/// What was broken; and where a promise did not hold, but for a reason: which.
pub(crate) fn judge(
    world: &World<'_>,
    client: &Bare<'_>,
    stranger: &Stranger,
    upload: &[u8],
) -> (Vec<Violation>, Option<&'static str>) {
    let mut found = Found {
        list: Vec::new(),
        excuse: None,
        at: world.now,
    };
    let (bytes, message) = world.scenario.stranger_says(stranger, upload);
    let run = Met {
        world,
        client,
        stranger,
        bytes,
        message,
    };
    claims::judge(world, &mut found);
    p2_each_byte_is_read_once(world, upload, &mut found);
    p1_nothing_but_the_answer(&run, &mut found);
    let server = &world.scenario.server;
    let waits = world.scenario.client.patience >= PATIENCE && server.answer > 0;
    // A reset that the handler asks for destroys what is under way.
    if waits && server.end != End::Reset {
        p1_somebody_answers(&run, &mut found);
        p1_a_copy_in_time_is_taken(&run, &mut found);
        p1_the_used_one_gets_everything(&run, &mut found);
        p1_so_does_the_other_while_nothing_is_chosen(&run, &mut found);
        p2_everything_is_read(&run, &mut found);
    }
    (found.list, found.excuse)
}

/// What a client reads anywhere is what one handler has written, from its
/// first byte.
fn p1_nothing_but_the_answer(run: &Met<'_>, found: &mut Found) {
    let read = run.client.wires.iter().filter(|wire| !wire.got.is_empty());
    for wire in read {
        let place = run.way(wire).and_then(|way| way.served);
        let right = place.is_some_and(|served| {
            let answer = run.world.scenario.server.answer;
            stream::pattern(served.socket as u64, answer).starts_with(&wire.got)
        });
        found.require(right, "P1", || {
            let (kind, read) = (wire.kind, wire.got.len());
            format!("the {read} bytes read by {kind} are not the answer")
        });
    }
}

/// If the path of any copy works both ways, its client hears something.
fn p1_somebody_answers(run: &Met<'_>, found: &mut Found) {
    let works = |way: &Way<'_>| {
        let answers = way.served.is_some_and(|served| served.handler.answers);
        // Where there were no bytes left, who is not kept is a duplicate.
        let kept = way
            .pair
            .is_none_or(|kept| !kept.lacks_a_copy() || kept.chosen() == Some(way.accepted.socket));
        answers
            && kept
            && !way.end.cut
            && works_both_ways(way.flow)
            && way.wire.closed >= run.client.left
    };
    let mut ways = run.client.wires.iter().filter_map(|wire| run.way(wire));
    found.require(
        run.client.used.is_some() || !ways.any(|w| works(&w)),
        "P1",
        || "a copy's path works, and nothing was heard".to_owned(),
    );
}

/// A copy that comes within the window is taken in, unless its client has
/// shown already that it uses the other, or has had everything there.
fn p1_a_copy_in_time_is_taken(run: &Met<'_>, found: &mut Found) {
    for wire in &run.client.wires {
        let Some(way) = run.way(wire).filter(|way| way.served.is_none()) else {
            continue;
        };
        let Some(kept) = run.open_for(&way).filter(|kept| !kept.lacks_a_copy()) else {
            continue;
        };
        let at = way.accepted.decided;
        let before = |other: Option<u64>| other.is_some() && other <= at;
        let shown = run.other(wire).is_some_and(|other| {
            let spoke = run.way(other).and_then(|other| run.spoke_at(&other));
            let left = before(other.ended) || before(other.closed);
            left || before(spoke) || run.is_ahead(other, kept)
        });
        found.require(shown, "P1", || {
            let (kind, began) = (wire.kind, kept.began);
            format!("a copy by {kind} was turned away, of a message kept open since {began}")
        });
    }
}

/// If the path of the connection that its client goes on with works both
/// ways, the whole answer comes there.
fn p1_the_used_one_gets_everything(run: &Met<'_>, found: &mut Found) {
    let Some(way) = run.used() else {
        return;
    };
    let answered = way.served.is_some_and(|served| served.handler.answers);
    if !answered || !works_both_ways(way.flow) || way.end.cut || run.is_outdone(&way) {
        return;
    }
    run.require_whole(&way, found);
}

/// Nor does the other miss anything that its client reads, as long as nothing
/// shows which one is used, and the log has it.
fn p1_so_does_the_other_while_nothing_is_chosen(run: &Met<'_>, found: &mut Found) {
    let silent = run.stranger.beyond() == 0 && run.stranger.reads_both;
    let Some(used) = run.used().filter(|_| silent && run.fits_the_log()) else {
        return;
    };
    let Some(way) = run.other(used.wire).and_then(|wire| run.way(wire)) else {
        return;
    };
    let clean = |way: &Way<'_>| {
        works_both_ways(way.flow) && way.flow.lost_there == 0 && way.flow.lost_back == 0
    };
    let full = |kept: &Kept| !kept.is_cut_short() && !kept.lacks_a_copy();
    let paired = |way: &Way<'_>| way.pair.is_some_and(full);
    let both = paired(&way) && paired(&used) && clean(&way) && clean(&used);
    let answered = way.served.is_some_and(|served| served.handler.answers);
    // Who has closed it does not read on.
    let reads = way.wire.closed.is_none() || way.wire.read_end.is_some();
    if both && answered && reads && !way.end.cut {
        run.require_whole(&way, found);
    }
}

/// The application reads all that its client has said where it went on, and
/// the end.
fn p2_everything_is_read(run: &Met<'_>, found: &mut Found) {
    let Some(way) = run.used() else {
        return;
    };
    let reads = matches!(
        run.world.scenario.server.end,
        End::AfterEof | End::HalfClose
    );
    let said = way.wire.said == run.bytes.len() && way.wire.ended.is_some();
    let Some(served) = way.served.filter(|_| reads && said) else {
        return;
    };
    if !works_both_ways(way.flow) || run.is_outdone(&way) {
        return;
    }
    let handler = &served.handler;
    // Where nobody looks for a first message, its handler reads that too.
    let before = served.message.map_or(0, |_| run.message);
    let beyond = run.bytes.len().saturating_sub(before);
    let whole = handler.eof && handler.got.len() == beyond;
    if !whole && run.is_misled(&way, served) {
        found.excuse = Some("a loser's FIN stood alone for a second, or before the other copy");
        return;
    }
    found.require(whole, "P2", || {
        let (got, eof) = (handler.got.len(), handler.eof);
        format!("{got} bytes of {beyond} beyond the message were read, the end: {eof}")
    });
}

impl<'a> Met<'a> {
    fn way(&self, wire: &'a Wire) -> Option<Way<'a>> {
        let world = self.world;
        let socket = world.sockets.get(wire.socket.index())?;
        let end = socket.peer?;
        let accepted = world.host.accepted.iter().find(|one| one.socket == end)?;
        let pair = accepted.pair.and_then(|pair| world.host.pairs.get(pair));
        let served = match pair {
            Some(kept) => world.host.accepted.get(kept.place),
            None => Some(accepted).filter(|one| one.called.is_some()),
        };
        Some(Way {
            wire,
            flow: world.flows.get(socket.flow)?,
            socket,
            end: world.sockets.get(end)?,
            accepted,
            pair,
            served,
        })
    }

    fn used(&self) -> Option<Way<'a>> {
        self.way(self.client.wires.get(self.client.used?)?)
    }

    fn other(&self, wire: &Wire) -> Option<&'a Wire> {
        let mut wires = self.client.wires.iter();
        wires.find(|other| other.kind != wire.kind)
    }

    fn fits_the_log(&self) -> bool {
        let server = &self.world.scenario.server;
        let most = server.pairing.map_or(0, |pairing| pairing.log_max);
        server.answer as usize <= most
    }

    /// What was open for a copy of this message, when it came.
    fn open_for(&self, way: &Way<'_>) -> Option<&'a Kept> {
        let window = self.world.pair_window();
        let at = way.accepted.decided?;
        self.world.host.pairs.iter().find(|kept| {
            let first = self.world.host.accepted.get(kept.place);
            let end = first.and_then(|first| self.world.sockets.get(first.socket));
            let same = first.is_some_and(|first| first.message == way.accepted.message);
            let here = end.is_some_and(|end| end.server == way.end.server);
            let until = kept.began.saturating_add(window);
            same && here && (kept.began..until).contains(&at)
        })
    }

    /// Whether a client has had so much on this connection that a copy can not
    /// be given the answer from its first byte any more.
    fn is_ahead(&self, wire: &Wire, kept: &Kept) -> bool {
        let socket = self.world.sockets.get(wire.socket.index());
        let received = socket.map_or(0, Socket::received);
        let all = received >= self.world.scenario.server.answer;
        let closes = self.world.scenario.server.end == End::Close;
        let forgotten = !self.fits_the_log() || kept.is_cut_short();
        received > 0 && (forgotten || closes && all)
    }

    /// Whether the other connection has rightly been taken for the one that is
    /// used, or has left this one behind.
    fn is_outdone(&self, way: &Way<'_>) -> bool {
        let Some(kept) = way.pair else {
            return false;
        };
        // Where there were no bytes left, who is not kept is a duplicate.
        if kept.lacks_a_copy() && kept.chosen() != Some(way.accepted.socket) {
            return true;
        }
        let Some(other) = self.other(way.wire).and_then(|wire| self.way(wire)) else {
            return false;
        };
        let proven = other.flow.reply_came.is_some();
        // It was dropped at the window's end, or lagged by more than the log.
        let until = kept.began.saturating_add(self.world.pair_window());
        let late = way.flow.reply_came.is_none_or(|came| came > until);
        if is_given_up(self.world, kept) {
            return true;
        }
        let lags = !self.fits_the_log() || kept.is_cut_short();
        // The other's bytes spoke for it, and none came here for long.
        let spoke = (proven || other.wire.kind == AttemptKind::Plain)
            && self.spoke_long_before(&other, way);
        proven && (late || lags) || spoke
    }

    fn spoke_long_before(&self, other: &Way<'_>, way: &Way<'_>) -> bool {
        let Some(before) = self.spoke_at(other) else {
            return false;
        };
        let near = self
            .spoke_at(way)
            .is_some_and(|at| at <= before.saturating_add(TOGETHER));
        !near || way.flow.lost_there > 0
    }

    /// When the first byte beyond the message left.
    fn spoke_at(&self, way: &Way<'_>) -> Option<u64> {
        let message = u32::try_from(self.message).unwrap_or(u32::MAX);
        // The first byte has number 1.
        let beyond = message.saturating_add(1);
        let departures = way.flow.departures.iter();
        departures
            .filter(|(upto, _)| *upto > beyond)
            .map(|(_, at)| *at)
            .min()
    }

    /// Whether the end of the other, which had less to say, was rightly taken
    /// for the client's.
    fn is_misled(&self, way: &Way<'_>, served: &Accepted) -> bool {
        let Some(other) = self.other(way.wire).and_then(|wire| self.way(wire)) else {
            return false;
        };
        let Some(eof) = served.handler.eof_at else {
            return false;
        };
        let less = other.socket.fin && other.wire.said < self.bytes.len();
        let no_more = served.handler.got.len() <= other.wire.said.saturating_sub(self.message);
        let since = other.end.fin_since;
        let stood = since.is_some_and(|since| since.saturating_add(nanos(GRACE)) <= eof);
        let before = way.accepted.decided.is_none_or(|at| at >= eof);
        less && no_more && (stood || before)
    }

    fn require_whole(&self, way: &Way<'_>, found: &mut Found) {
        let answer = self.world.scenario.server.answer as usize;
        let wire = way.wire;
        let whole = wire.got.len() == answer && wire.read_end == Some(ReadEnd::Eof);
        found.require(whole, "P1", || {
            let (kind, read, end) = (wire.kind, wire.got.len(), wire.read_end);
            format!("the path of {kind} works, and {read} bytes of {answer} were read, {end:?}")
        });
    }
}
