//! Between the kernels: the middlebox, then loss, delay and duplication.

use std::time::Duration;

use crate::link::Mishap;
use crate::middlebox::{Verdict, refusal};
use crate::scenario::Reach;
use crate::segment::Segment;
use crate::tcp::nanos;
use crate::trace::{Fate, What};
use crate::world::{Event, World};

/// What a draw is for.
const RULE: u64 = 1;
const LOSS: u64 = 2;
const JITTER: u64 = 3;
const DUPLICATE: u64 = 4;
const SECOND_JITTER: u64 = 5;

/// A copy made by a link comes up to so much later.
const COPY_AFTER: Duration = Duration::from_millis(50);

impl World<'_> {
    /// Puts a packet on its way.
    pub(crate) fn send(&mut self, mut segment: Segment) {
        let Some(flow) = self.flows.get_mut(segment.flow) else {
            return;
        };
        let original = segment;
        let dice = flow.dice;
        let key = segment.key();
        segment.server = flow.server;
        flow.packets = flow.packets.saturating_add(1);
        let mishap = flow.travel.befalls(&segment);
        let verdict = flow.memory.judge(&mut segment, dice.of(RULE));
        let nobody = segment.to_server && flow.reach == Reach::Dead;
        let dead = flow.link.dies_after.is_some_and(|most| flow.packets > most);
        let chance = dice.of(LOSS).chance(flow.link.loss, key);
        let lost = nobody || dead || chance || mishap == Some(Mishap::Lost);
        let late = match mishap {
            Some(Mishap::Late(more)) => nanos(more),
            Some(Mishap::Lost | Mishap::Twice(_)) | None => 0,
        };
        let delay = nanos(flow.link.delay).saturating_add(late);
        let jitter = flow.link.jitter;
        let delays = [JITTER, SECOND_JITTER]
            .map(|which| delay.saturating_add(dice.of(which).span(jitter, key)));
        let [first, second] = delays;
        let twice = dice.of(DUPLICATE).chance(flow.link.duplicates, key);
        let copy_after = dice.of(DUPLICATE).of(1).span(COPY_AFTER, key);
        let no_host = segment.to_server && flow.reach == Reach::Unreachable;
        let passes = !lost && matches!(verdict, Verdict::Forward | Verdict::Duplicate(_));
        flow.count(&segment, passes);

        let (fate, arrival) = match verdict {
            Verdict::Drop => (Fate::Dropped, None),
            Verdict::Answer(answer) => (Fate::Answered, Some((answer, first))),
            Verdict::Forward | Verdict::Duplicate(_) if lost => (Fate::Lost, None),
            Verdict::Forward | Verdict::Duplicate(_) if no_host => {
                (Fate::Answered, Some((refusal(&segment, true), first)))
            }
            Verdict::Forward | Verdict::Duplicate(_) => {
                (Fate::Arrives(first), Some((segment, first)))
            }
        };
        let befallen = u64::from(mishap.is_some());
        self.counters.befallen = self.counters.befallen.saturating_add(befallen);
        self.counters.packets = self.counters.packets.saturating_add(1);
        self.counters.lost = self.counters.lost.saturating_add(u64::from(!passes));
        self.trace(What::Sent(original, fate));
        let now = self.now;
        if let Some((what, after)) = arrival {
            self.push(now.saturating_add(after), Event::Arrives(what));
        }
        if passes && !no_host {
            if let Verdict::Duplicate(after) = verdict {
                let at = now.saturating_add(first).saturating_add(nanos(after));
                self.push(at, Event::Arrives(segment));
            }
            if let Some(Mishap::Twice(after)) = mishap {
                let at = now.saturating_add(first).saturating_add(nanos(after));
                self.push(at, Event::Arrives(segment));
            }
            if twice {
                let at = now.saturating_add(second).saturating_add(copy_after);
                self.push(at, Event::Arrives(segment));
            }
        }
    }

    /// Bytes leave for the first time.
    pub(crate) fn note_departure(&mut self, segment: &Segment) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(segment.flow) else {
            return;
        };
        if !segment.to_server {
            if segment.seq <= 1 && segment.len > 0 {
                flow.reply_left.get_or_insert(now);
            }
            return;
        }
        let end = segment.seq.max(1).saturating_add(segment.len);
        if flow.departures.last().is_none_or(|(upto, _)| *upto < end) && segment.len > 0 {
            flow.departures.push((end, now));
        }
    }

    /// The client has got its first byte, or later ones.
    pub(crate) fn note_arrival(&mut self, flow: usize, before: u32) {
        let now = self.now;
        if let Some(flow) = self.flows.get_mut(flow)
            && before == 1
        {
            flow.reply_came.get_or_insert(now);
        }
    }
}

impl crate::world::Flow {
    fn count(&mut self, segment: &Segment, passes: bool) {
        let [there, back] = &mut self.tail;
        let (tail, lost) = match segment.to_server {
            true => (there, &mut self.lost_there),
            false => (back, &mut self.lost_back),
        };
        match passes {
            true => *tail = 0,
            false => {
                *tail = tail.saturating_add(1);
                *lost = lost.saturating_add(1);
            }
        }
    }
}
