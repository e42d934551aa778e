//! The middlebox: a pure function of packets and its memory of connections.

use std::time::Duration;

use crate::{
    flows::{FLOWS_MAX, Flow, FlowKey, Flows},
    link::{Link, Mishap, Opening, Travel},
    rewrite,
    rng::Rng,
    rule::{DUPLICATE_AFTER_MAX, Rule},
    segment::{OptionKind, Parsed, Segment},
    topology::{Direction, Port},
    way::{Way, Ways},
};

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on as it is.
    Forward,
    /// It goes on, changed.
    Rewritten,
    /// It is gone.
    Drop,
    /// It is gone, and this goes back.
    Answer(Vec<u8>),
    /// It goes on, and again so much later.
    Duplicate(Duration),
}

/// A verdict, the server that the packet belongs to, by how much it, or what
/// answers it, is late, and whether a fault befell it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) server: Port,
    pub(crate) late: Duration,
    pub(crate) befallen: bool,
}

impl Ruling {
    /// On what belongs to no connection.
    fn stray(verdict: Verdict) -> Self {
        Self {
            verdict,
            server: Port::Server,
            late: Duration::ZERO,
            befallen: false,
        }
    }
}

/// The state of the middlebox.
#[derive(Debug)]
pub(crate) struct Middlebox {
    flows: Flows,
    rng: Rng,
    /// Connections balanced so far.
    balanced: u64,
}

impl Middlebox {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            flows: Flows::new(FLOWS_MAX),
            rng: Rng::new(seed),
            balanced: 0,
        }
    }

    /// Judges one packet, and changes it if that is the verdict. `rule` and
    /// `ways` are for connections that begin now.
    pub(crate) fn judge(
        &mut self,
        rule: Rule,
        ways: &Ways,
        direction: Direction,
        packet: &mut Vec<u8>,
        parsed: Option<&Parsed>,
    ) -> Ruling {
        let Some((parsed, segment)) = parsed.and_then(|parsed| Some((parsed, parsed.segment?)))
        else {
            return Ruling::stray(self.chance(rule));
        };
        let key = FlowKey::new(direction, &segment);
        if segment.is_syn()
            && !self
                .flows
                .get_mut(&key)
                .is_some_and(|flow| flow.is_same(direction, &segment))
        {
            let flow = self.open(rule, ways, direction, &segment);
            self.flows.insert(key, flow);
        }
        let Some(flow) = self.flows.get_mut(&key) else {
            return Ruling::stray(self.chance(rule));
        };
        flow.packets = flow.packets.saturating_add(1);
        flow.fast_open |= direction == flow.opened && segment.is_syn_with_data();
        let server = flow.server;
        let end = flow.end_of_way(direction, packet, &segment);
        let mishap = flow.travel.befalls(direction == flow.opened, &segment);
        let late = match mishap {
            Some(Mishap::Late(more)) => flow.travel.delay().saturating_add(more),
            Some(Mishap::Lost | Mishap::Twice(_)) | None => flow.travel.delay(),
        };
        let verdict = match flow.rule {
            rule @ Rule::RandomLoss { .. } => self.chance(rule),
            _ => flow.judge(direction, packet, parsed, &segment),
        };
        let verdict = match (verdict, mishap, end) {
            (verdict @ (Verdict::Drop | Verdict::Answer(_)), _, _) => verdict,
            (_, Some(Mishap::Lost), _) => Verdict::Drop,
            (_, _, Some(end)) => end,
            (_, Some(Mishap::Twice(after)), None) => Verdict::Duplicate(after),
            (verdict, _, None) => verdict,
        };
        Ruling {
            verdict,
            server,
            late,
            befallen: mishap.is_some(),
        }
    }

    /// The memory of a connection that begins with `segment`.
    fn open(&mut self, rule: Rule, ways: &Ways, opened: Direction, segment: &Segment) -> Flow {
        let mut server = Port::Server;
        if rule == Rule::Balance && opened == Direction::ToServer {
            if self.balanced % 2 == 1 {
                server = Port::SecondServer;
            }
            self.balanced = self.balanced.wrapping_add(1);
        }
        let (address, opening) = (segment.destination.ip(), Opening::of(segment));
        let (way, link) = match opened {
            Direction::ToServer => (ways.to(address), ways.link_to(address, opening)),
            Direction::ToClient => (Way::Open, Link::new()),
        };
        Flow {
            rule,
            way,
            travel: Travel::new(link),
            opened,
            sequence: segment.sequence,
            fast_open: segment.is_syn_with_data(),
            opening,
            packets: 0,
            spent: false,
            server,
        }
    }

    /// Random loss, under that rule.
    fn chance(&mut self, rule: Rule) -> Verdict {
        match rule {
            Rule::RandomLoss { per_mille } if self.rng.chance(per_mille) => Verdict::Drop,
            _ => Verdict::Forward,
        }
    }
}

impl Flow {
    /// Whether a SYN is the one that opened this connection, sent again.
    fn is_same(&self, direction: Direction, syn: &Segment) -> bool {
        self.opened == direction && self.sequence == syn.sequence
    }

    /// What becomes of a packet that goes on and comes to the end of its way.
    fn end_of_way(
        &self,
        direction: Direction,
        packet: &[u8],
        segment: &Segment,
    ) -> Option<Verdict> {
        let to_server = direction == Direction::ToServer;
        match self.way {
            Way::Dead if to_server => Some(Verdict::Drop),
            Way::Unreachable if to_server => Some(answer(rewrite::unreachable(packet, segment))),
            Way::PlainDiesAfter(packets)
                if self.opening == Opening::Plain && self.packets > packets =>
            {
                Some(Verdict::Drop)
            }
            Way::Open | Way::Dead | Way::Unreachable | Way::PlainDiesAfter(_) => None,
        }
    }

    /// Judges a packet of this connection.
    fn judge(
        &mut self,
        direction: Direction,
        packet: &mut Vec<u8>,
        parsed: &Parsed,
        segment: &Segment,
    ) -> Verdict {
        let with_data = segment.is_syn_with_data();
        let option = segment
            .fast_open
            .filter(|_| segment.is_syn())
            .map(|option| option.kind);
        let syn_ack = self.fast_open && segment.is_syn_ack();
        let server_data = self.fast_open && direction != self.opened && segment.payload > 0;
        let rule = self.rule;
        match rule {
            Rule::Transparent | Rule::Balance | Rule::RandomLoss { .. } => Verdict::Forward,
            Rule::DropSynWithData => drop_if(with_data),
            Rule::DropSynWithOption => drop_if(option == Some(OptionKind::Standard)),
            Rule::DropSynWithExperimentalOption => {
                drop_if(option == Some(OptionKind::Experimental))
            }
            Rule::DropSynWithAnyOption => drop_if(option.is_some()),
            Rule::StripOption if option.is_some() => {
                rewritten(rewrite::strip_option(packet, parsed))
            }
            Rule::StripOptionAndData if option.is_some() || with_data => rewritten(
                rewrite::strip_option(packet, parsed)
                    .and_then(|()| rewrite::cut_payload(packet, parsed)),
            ),
            Rule::CutData if with_data => rewritten(rewrite::cut_payload(packet, parsed)),
            Rule::StripOption | Rule::StripOptionAndData | Rule::CutData => Verdict::Forward,
            Rule::DropSynAck => drop_if(syn_ack),
            Rule::DropServerDataAfterHandshake => drop_if(server_data),
            Rule::BlackholeAfterHandshake if self.spent => Verdict::Drop,
            Rule::BlackholeAfterHandshake => {
                self.spent = syn_ack;
                Verdict::Forward
            }
            Rule::BlackholeAfter(packets) => drop_if(self.fast_open && self.packets > packets),
            Rule::DuplicateSyn { after } if self.once(with_data) => {
                Verdict::Duplicate(after.min(DUPLICATE_AFTER_MAX))
            }
            Rule::DuplicateSyn { .. } => Verdict::Forward,
            Rule::ResetSyn if with_data => answer(rewrite::reset(segment)),
            Rule::UnreachableSyn if with_data => answer(rewrite::unreachable(packet, segment)),
            Rule::ResetSyn | Rule::UnreachableSyn => Verdict::Forward,
            Rule::LoseFirstSyn => drop_if(self.once(with_data)),
            Rule::LoseFirstSynAck => drop_if(self.once(syn_ack)),
            Rule::LoseFirstServerData => drop_if(self.once(server_data)),
        }
    }

    /// True the first time that `now` is.
    fn once(&mut self, now: bool) -> bool {
        let first = now && !self.spent;
        self.spent |= now;
        first
    }
}

fn drop_if(condition: bool) -> Verdict {
    if condition {
        Verdict::Drop
    } else {
        Verdict::Forward
    }
}

/// A packet that cannot be rewritten does not pass a box that rewrites.
fn rewritten(done: Option<()>) -> Verdict {
    done.map_or(Verdict::Drop, |()| Verdict::Rewritten)
}

fn answer(made: Option<Vec<u8>>) -> Verdict {
    made.map_or(Verdict::Drop, Verdict::Answer)
}

#[cfg(test)]
mod tests;
