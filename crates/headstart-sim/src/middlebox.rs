//! The middlebox: a pure function of packets and its memory of a flow, as the
//! lab's.

use std::time::Duration;

use crate::dice::Dice;
use crate::rule::Rule;
use crate::segment::{OptionKind, Segment};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on, changed or not.
    Forward,
    Drop,
    /// It is gone, and this goes back.
    Answer(Segment),
    /// It goes on, and again so much later.
    Duplicate(Duration),
}

/// What the middlebox knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    rule: Rule,
    fast_open: bool,
    packets: u32,
    spent: bool,
}

impl Memory {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self {
            rule,
            fast_open: false,
            packets: 0,
            spent: false,
        }
    }

    /// Judges a packet, and changes it if that is the verdict.
    pub(crate) fn judge(&mut self, segment: &mut Segment, dice: Dice) -> Verdict {
        self.packets = self.packets.saturating_add(1);
        self.fast_open |= segment.is_syn_with_data();
        let with_data = segment.is_syn_with_data();
        let option = segment
            .option
            .filter(|_| segment.syn)
            .map(|option| option.kind);
        let of_syn = option.filter(|_| segment.is_syn());
        let syn_ack = self.fast_open && segment.is_syn_ack();
        let server_data = self.fast_open && !segment.to_server && segment.len > 0;
        let rule = self.rule;
        match rule {
            Rule::Transparent | Rule::Balance => Verdict::Forward,
            Rule::DropSynWithData => drop_if(with_data),
            Rule::DropSynWithOption => drop_if(of_syn == Some(OptionKind::Standard)),
            Rule::DropSynWithExperimentalOption => {
                drop_if(of_syn == Some(OptionKind::Experimental))
            }
            Rule::DropSynWithAnyOption => drop_if(of_syn.is_some()),
            Rule::StripOption => {
                if of_syn.is_some() {
                    segment.option = None;
                }
                Verdict::Forward
            }
            Rule::StripOptionAndData => {
                if segment.is_syn() {
                    segment.option = None;
                    segment.len = 0;
                }
                Verdict::Forward
            }
            Rule::CutData => {
                if with_data {
                    segment.len = 0;
                }
                Verdict::Forward
            }
            Rule::DropSynAck => drop_if(syn_ack),
            Rule::DropServerDataAfterHandshake => drop_if(server_data),
            Rule::BlackholeAfterHandshake if self.spent => Verdict::Drop,
            Rule::BlackholeAfterHandshake => {
                self.spent = syn_ack;
                Verdict::Forward
            }
            Rule::BlackholeAfter(packets) => drop_if(self.fast_open && self.packets > packets),
            Rule::DuplicateSyn { after } if self.once(with_data) => Verdict::Duplicate(after),
            Rule::DuplicateSyn { .. } => Verdict::Forward,
            Rule::ResetSyn if with_data => Verdict::Answer(refusal(segment, false)),
            Rule::UnreachableSyn if with_data => Verdict::Answer(refusal(segment, true)),
            Rule::ResetSyn | Rule::UnreachableSyn => Verdict::Forward,
            Rule::LoseFirstSyn => drop_if(self.once(with_data)),
            Rule::LoseFirstSynAck => drop_if(self.once(syn_ack)),
            Rule::LoseFirstServerData => drop_if(self.once(server_data)),
            Rule::RandomLoss { per_mille } => drop_if(dice.chance(per_mille, segment.key())),
        }
    }

    /// True the first time that `now` is.
    const fn once(&mut self, now: bool) -> bool {
        let first = now && !self.spent;
        self.spent |= now;
        first
    }
}

/// What refuses a SYN: a reset, or ICMP host unreachable.
pub(crate) fn refusal(syn: &Segment, unreachable: bool) -> Segment {
    Segment {
        to_server: false,
        end: None,
        syn: false,
        fin: false,
        rst: !unreachable,
        unreachable,
        seq: 0,
        ack: Some(syn.seq.saturating_add(1).saturating_add(syn.len)),
        len: 0,
        option: None,
        ..*syn
    }
}

const fn drop_if(condition: bool) -> Verdict {
    if condition {
        Verdict::Drop
    } else {
        Verdict::Forward
    }
}
