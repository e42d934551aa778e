//! Scenarios from numbers.

use std::time::Duration;

use headstart_core::config::{Kinds, LoserClose, Peer, Schedule};
use headstart_core::pair::{LOG_DEFAULT, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind;

use crate::dice::Rolls;
use crate::link::Link;
use crate::rule::Rule;
use crate::scenario::{
    Act, Client, Crowd, End, Jump, Noise, Pairing, RaceSettings, Reach, Scenario, Server, Target,
    Trigger,
};
use crate::segment::OptionKind;
use crate::stream::Statement;

impl Scenario {
    /// The scenario with this number: always the same.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let rolls = &mut Rolls::new(seed);
        let client = client(rolls);
        let server = server(rolls, &client);
        let scenario = Self {
            seed,
            race: race(rolls, &server),
            rule: rule(rolls),
            noise: noise(rolls),
            client,
            server,
        };
        // Draws of their own: what a number means without them stays.
        let scenario = scenario.in_a_crowd();
        match Rolls::new(seed ^ PAIRING).once_in(2) {
            true => scenario.with_pairs(),
            false => scenario,
        }
    }

    /// The scenario with this number, with a server that keeps messages open
    /// for copies, unless no server could read them.
    #[must_use]
    pub fn paired_from_seed(seed: u64) -> Self {
        let scenario = Self::from_seed(seed);
        match scenario.client.statement {
            Statement::Malformed => scenario,
            _ => scenario.made_to_pair(),
        }
    }

    /// The same, with such a server.
    pub(crate) fn made_to_pair(mut self) -> Self {
        if self.server.pairing.is_some() {
            return self;
        }
        self.server.debounce.get_or_insert(REMEMBERED);
        self.with_pairs()
    }

    fn in_a_crowd(mut self) -> Self {
        let rolls = &mut Rolls::new(self.seed ^ CROWD);
        self.server.crowd = self
            .server
            .debounce
            .filter(|_| rolls.once_in(8))
            .map(|window| crowd(rolls, window));
        self
    }

    fn with_pairs(mut self) -> Self {
        let rolls = &mut Rolls::new(self.seed ^ PAIRING).skip(1);
        let Some(window) = self.server.debounce else {
            return self;
        };
        let pairing = pairing(rolls, window);
        self.race.peer = Peer::Pairing;
        self.server.send_buffer = match rolls.below(3) {
            0 => u32::try_from(rolls.between(2_000, 20_000)).unwrap_or(4_096),
            _ => 80_000,
        };
        // Larger than log and send buffer together.
        if rolls.once_in(8) {
            let more = rolls.between(1, 60_000);
            let log = u64::try_from(pairing.log_max).unwrap_or(0);
            let all = log.saturating_add(more);
            let all = all.saturating_add(u64::from(self.server.send_buffer));
            self.server.answer = u32::try_from(all).unwrap_or(200_000);
        }
        if rolls.once_in(4) {
            self.server.end = End::Close;
        }
        self.server.pairing = Some(pairing);
        self
    }
}

/// How long most servers remember first messages.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Tells the draws for pairs from those for all else.
const PAIRING: u64 = 0x7061_6972_6564_2121;

/// Tells the draws for a crowd from those for all else.
const CROWD: u64 = 0x6372_6f77_6421_2121;

fn crowd(rolls: &mut Rolls, window: Duration) -> Crowd {
    let aimed = rolls.once_in(32);
    let size = match aimed {
        true => rolls.between(200, 400),
        false => rolls.between(1, 100),
    };
    Crowd {
        size: u32::try_from(size).unwrap_or(1),
        times: u32::try_from(rolls.between(2, 4)).unwrap_or(2),
        every: match rolls.below(2) {
            // All at once, or when all before are forgotten, or some.
            0 => rolls.millis(1, 200),
            _ => window.saturating_add(rolls.millis(1, 200)),
        },
        aimed,
    }
}

fn pairing(rolls: &mut Rolls, debounced: Duration) -> Pairing {
    let window = match rolls.below(6) {
        0 => rolls.millis(1, 3_000),
        _ => WINDOW_DEFAULT,
    };
    Pairing {
        // Who is forgotten begins anew.
        window: window.min(debounced),
        log_max: match rolls.below(4) {
            0 => usize::try_from(rolls.between(1, 4_000)).unwrap_or(1),
            _ => LOG_DEFAULT,
        },
        pairs_max: match rolls.below(8) {
            0 => 0,
            1..4 => 1,
            _ => 4_096,
        },
        bytes_max: {
            let bytes = &mut rolls.apart(BYTES);
            match bytes.below(8) {
                0 => usize::try_from(bytes.between(1, 5_000)).unwrap_or(1),
                1 => usize::try_from(bytes.between(1, 100_000)).unwrap_or(1),
                _ => Pairing::default().bytes_max,
            }
        },
    }
}

/// Tells the draws for the bytes of pairs from those for all else.
const BYTES: u64 = 0x2002;

fn client(rolls: &mut Rolls) -> Client {
    let statement = rolls.one_of(
        &[
            Statement::Token,
            Statement::Token,
            Statement::Tls,
            Statement::Noise,
            Statement::Asserted,
            Statement::Asserted,
            Statement::Unstated,
            Statement::Malformed,
        ],
        Statement::Token,
    );
    let least = u64::from(statement.message_min());
    let message = match rolls.below(8) {
        0 => least,
        1 => rolls.between(1_300, 1_500),
        2 => rolls.between(least, 6_000),
        _ => rolls.between(least, 1_300),
    };
    let message = u32::try_from(message).unwrap_or(100);
    Client {
        statement,
        message,
        script: script(rolls, message),
        stranger: None,
        patience: match rolls.below(12) {
            0 => rolls.millis(1, 3_000),
            _ => Duration::from_secs(10_000),
        },
    }
}

/// What the application does: the message in pieces, perhaps more, and an end.
fn script(rolls: &mut Rolls, message: u32) -> Vec<Act> {
    let mut script = Vec::new();
    if rolls.once_in(8) {
        script.push(Act::Read);
        if rolls.once_in(4) {
            script.push(Act::AwaitReply);
        }
    }
    if rolls.once_in(6) {
        script.push(Act::Pause(rolls.millis(1, 400)));
    }
    let mut left = message;
    while left > 0 {
        let piece = match rolls.below(3) {
            0 if script.len() < 8 => left.div_ceil(2),
            _ => left,
        };
        script.push(Act::Write(piece));
        left = left.saturating_sub(piece);
        if left > 0 && rolls.once_in(2) {
            script.push(Act::Pause(rolls.millis(1, 200)));
        }
    }
    if rolls.once_in(4) {
        script.push(Act::Flush);
    }
    let mut reading = false;
    if rolls.once_in(2) {
        script.push(Act::Read);
        reading = true;
    }
    let more = match rolls.below(8) {
        0..4 => 0,
        4 => rolls.between(1, 40_000),
        5 => rolls.between(30_000, 120_000),
        _ => rolls.between(1, 3_000),
    };
    if more > 0 {
        if rolls.once_in(2) {
            script.push(Act::Pause(rolls.millis(1, 300)));
        }
        script.push(Act::Write(u32::try_from(more).unwrap_or(1)));
    }
    match rolls.below(8) {
        0 => script.push(Act::Drop),
        1 => {
            script.push(Act::Pause(rolls.millis(1, 2_000)));
            script.push(Act::Drop);
        }
        2 => {
            script.push(Act::Shutdown);
            script.push(Act::Drop);
        }
        _ => {
            if !reading {
                script.push(Act::Read);
            }
            if rolls.once_in(3) {
                script.push(Act::AwaitReply);
            }
            script.push(Act::Shutdown);
            script.push(Act::AwaitEnd);
        }
    }
    script
}

fn server(rolls: &mut Rolls, client: &Client) -> Server {
    let debounces = !rolls.once_in(4) && client.statement != Statement::Malformed;
    let window = match rolls.below(10) {
        0 => rolls.millis(100, 5_000),
        _ => REMEMBERED,
    };
    let answer = match rolls.below(8) {
        0 => 0,
        1 => rolls.between(10_000, 80_000),
        2 => 1,
        _ => rolls.between(1, 3_000),
    };
    Server {
        fast_open: !rolls.once_in(6),
        debounce: debounces.then_some(window),
        crowd: None,
        pairing: None,
        send_buffer: u32::MAX,
        trigger: rolls.one_of(
            &[
                Trigger::Message,
                Trigger::Message,
                Trigger::Eof,
                Trigger::Call,
            ],
            Trigger::Message,
        ),
        think: match rolls.below(3) {
            0 => rolls.millis(1, 800),
            _ => Duration::ZERO,
        },
        answer: u32::try_from(answer).unwrap_or(0),
        end: rolls.one_of(
            &[
                End::AfterEof,
                End::AfterEof,
                End::AfterEof,
                End::HalfClose,
                End::Close,
                End::Reset,
            ],
            End::AfterEof,
        ),
    }
}

fn race(rolls: &mut Rolls, server: &Server) -> RaceSettings {
    let first = rolls.one_of(
        &[AttemptKind::Plain, AttemptKind::FastOpen],
        AttemptKind::Plain,
    );
    let delay = rolls.millis(1, 400);
    let peer = match server.debounce {
        Some(_) => Peer::FirstCome,
        None => Peer::Unaware,
    };
    RaceSettings {
        targets: targets(rolls),
        kinds: match rolls.below(16) {
            0 => Kinds::PlainOnly,
            _ => Kinds::Both,
        },
        schedule: match rolls.below(6) {
            0 => Schedule::Staggered { first, delay },
            1 => Schedule::Hedged { first, delay },
            _ => Schedule::AtOnce,
        },
        peer,
        insist: !rolls.once_in(4),
        losers: match rolls.below(6) {
            0 => LoserClose::Graceful,
            _ => LoserClose::Abortive,
        },
        held_max: match rolls.below(4) {
            0 => usize::try_from(rolls.between(1, 5_000)).unwrap_or(1),
            _ => 64 * 1024,
        },
        fast_open: !rolls.once_in(10),
        cookie: match rolls.below(6) {
            0 => None,
            1 => Some(OptionKind::Experimental),
            _ => Some(OptionKind::Standard),
        },
        sockets: match rolls.below(12) {
            0 => 1,
            1 => 2,
            _ => 64,
        },
        send_buffer: match rolls.below(3) {
            0 => u32::try_from(rolls.between(2_000, 20_000)).unwrap_or(4_096),
            _ => 80_000,
        },
    }
}

/// Tells the draws for cookies of addresses where no server is.
const STALE: u64 = 0x2001;

fn targets(rolls: &mut Rolls) -> Vec<Target> {
    let count = match rolls.below(8) {
        0 => 3,
        1 => 2,
        _ => 1,
    };
    let mut targets: Vec<_> = (0..count)
        .map(|_| {
            let delay = rolls.millis(1, 100);
            let plain = link(rolls, delay);
            let other = match rolls.below(4) {
                0 => rolls.millis(1, 100),
                _ => delay,
            };
            Target {
                reach: match count {
                    1 => Reach::Server,
                    _ => rolls.one_of(
                        &[
                            Reach::Server,
                            Reach::Dead,
                            Reach::Refusing,
                            Reach::Unreachable,
                        ],
                        Reach::Server,
                    ),
                },
                cookie: true,
                plain,
                fast_open: link(rolls, other),
            }
        })
        .collect();
    if let Some(last) = targets.last_mut()
        && !rolls.once_in(20)
    {
        last.reach = Reach::Server;
    }
    let stale = &mut rolls.apart(STALE);
    for target in &mut targets {
        target.cookie = target.reach == Reach::Server || stale.once_in(2);
    }
    targets
}

fn link(rolls: &mut Rolls, delay: Duration) -> Link {
    Link {
        delay,
        jitter: match rolls.below(4) {
            0 => rolls.millis(1, 40),
            _ => Duration::ZERO,
        },
        loss: match rolls.below(6) {
            0 => u16::try_from(rolls.between(1, 200)).unwrap_or(0),
            _ => 0,
        },
        duplicates: match rolls.below(8) {
            0 => u16::try_from(rolls.between(1, 300)).unwrap_or(0),
            _ => 0,
        },
        dies_after: match rolls.below(24) {
            0 => Some(u32::try_from(rolls.below(12)).unwrap_or(0)),
            _ => None,
        },
        faults: [None; Link::FAULTS_MAX],
    }
}

fn rule(rolls: &mut Rolls) -> Rule {
    if rolls.once_in(3) {
        return Rule::Transparent;
    }
    match rolls.one_of(&Rule::ALL, Rule::Transparent) {
        Rule::BlackholeAfter(_) => {
            Rule::BlackholeAfter(u32::try_from(rolls.between(1, 12)).unwrap_or(4))
        }
        Rule::DuplicateSyn { .. } => Rule::DuplicateSyn {
            after: rolls.millis(1, 10_000),
        },
        Rule::RandomLoss { .. } => Rule::RandomLoss {
            per_mille: u16::try_from(rolls.between(1, 300)).unwrap_or(10),
        },
        rule => rule,
    }
}

fn noise(rolls: &mut Rolls) -> Noise {
    Noise {
        order: rolls.once_in(4),
        spurious: rolls.once_in(4),
        write_max: match rolls.below(5) {
            0 => Some(u32::try_from(rolls.between(20, 700)).unwrap_or(1)),
            _ => None,
        },
        blocks: rolls.once_in(5),
        jump: match rolls.below(10) {
            0 => Some(Jump {
                at: rolls.millis(0, 1_500),
                millis: i64::try_from(rolls.below(10_000)).unwrap_or(0) - 5_000,
            }),
            _ => None,
        },
    }
}
