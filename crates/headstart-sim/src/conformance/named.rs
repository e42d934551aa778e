//! The scenarios that every driver has to master, by name.

use std::time::Duration;

use headstart_core::config::{LoserClose, Peer, Schedule};
use headstart_core::race::AttemptKind;

use crate::rule::Rule;
use crate::scenario::{Act, End, Jump, Reach, Scenario, Target, Trigger};
use crate::stream::Statement;

/// The round trip of every path.
const RTT: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

/// A scenario with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Such as `drop-syn-with-data: an upload`.
    pub name: String,
    /// The scenario.
    pub scenario: Scenario,
}

/// A change to the plainest scenario, and its name.
type Change = (&'static str, fn(&mut Scenario));

/// Every middlebox under every way to use a connection, then every setting
/// once: always the same list.
#[must_use]
pub fn named() -> Vec<Named> {
    let of = |rule: Rule, (name, change): &Change| {
        let mut scenario = Scenario::plainest(rule, RTT);
        change(&mut scenario);
        Named {
            name: format!("{rule}: {name}"),
            scenario,
        }
    };
    let paths = Rule::ALL
        .iter()
        .flat_map(|rule| USES.iter().map(|change| of(*rule, change)));
    let settings = SETTINGS
        .iter()
        .flat_map(|change| [Rule::Transparent, Rule::DropSynWithData].map(|rule| of(rule, change)));
    paths.chain(settings).collect()
}

/// What an application does with its connection.
const USES: [Change; 9] = [
    ("an exchange", |s| s.server.think = RTT / 10),
    ("both copies are answered", act_twice),
    ("an upload", |s| {
        act_twice(s);
        upload(s);
    }),
    ("an upload to a first-come peer", |s| {
        upload(s);
        delay_fast_open(s, RTT * 4 / 5);
    }),
    ("an exchange with a pairing peer", |s| {
        *s = s.paired();
        s.server.think = RTT / 10;
    }),
    ("an upload to a pairing peer", |s| {
        *s = s.paired();
        upload(s);
    }),
    ("more than a pairing peer keeps", |s| {
        *s = s.paired();
        s.server.send_buffer = 80_000;
        s.server.answer = 200_000;
        s.server.end = End::Close;
    }),
    ("written and dropped", |s| {
        s.client.script = vec![Act::Write(600), Act::Drop];
    }),
    ("read long after the answer", |s| {
        act_twice(s);
        s.client.script = vec![
            Act::Write(600),
            Act::Flush,
            Act::Pause(SECOND),
            Act::Read,
            Act::Shutdown,
            Act::AwaitEnd,
        ];
    }),
];

/// How the race is set, and what stands around it.
const SETTINGS: [Change; 29] = [
    ("a first contact", |s| s.race.cookie = None),
    ("a client without fast open", |s| s.race.fast_open = false),
    ("a server without fast open", |s| s.server.fast_open = false),
    ("one socket", |s| s.race.sockets = 1),
    ("no socket", |s| s.race.sockets = 0),
    ("losers closed gracefully", |s| {
        s.race.losers = LoserClose::Graceful;
    }),
    ("fast open comes late", |s| delay_fast_open(s, RTT)),
    ("fast open comes first", |s| delay_fast_open(s, RTT / 5)),
    ("a connection before the first write", |s| {
        s.client.script.insert(0, Act::Pause(SECOND));
    }),
    ("dialled and dropped unused", |s| {
        s.client.script = vec![Act::Pause(SECOND), Act::Drop];
    }),
    ("hedged, plain first", |s| {
        s.race.schedule = hedged(AttemptKind::Plain);
    }),
    ("hedged, fast open first", |s| {
        s.race.schedule = hedged(AttemptKind::FastOpen);
    }),
    ("staggered, plain first", |s| {
        s.race.schedule = staggered(AttemptKind::Plain);
    }),
    ("staggered, fast open first", |s| {
        s.race.schedule = staggered(AttemptKind::FastOpen);
    }),
    ("refused", |s| reach(s, Reach::Refusing)),
    ("unreachable", |s| reach(s, Reach::Unreachable)),
    ("a dead address before a good one", |s| {
        let mut dead = s.race.targets.clone();
        dead.iter_mut().for_each(|t| t.reach = Reach::Dead);
        s.race.targets.splice(0..0, dead);
    }),
    ("an unreachable address before one that resets", |s| {
        let mut closed = s.race.targets.clone();
        closed.iter_mut().for_each(|t| t.reach = Reach::Unreachable);
        s.race.targets.splice(0..0, closed);
        s.server.answer = 0;
        s.server.end = End::Reset;
    }),
    ("nothing is stated", |s| {
        s.client.statement = Statement::Unstated;
    }),
    ("what is stated is not true", |s| {
        s.client.statement = Statement::Malformed;
        s.server.debounce = None;
    }),
    ("more than a SYN carries", |s| {
        s.client.statement = Statement::Tls;
        s.client.message = 1_500;
        s.client.script = vec![Act::Write(1_500), Act::Read, Act::Shutdown, Act::AwaitEnd];
    }),
    ("the server speaks first", |s| {
        s.client.statement = Statement::Unstated;
        s.server.debounce = None;
        s.server.trigger = Trigger::Call;
        s.client.script = vec![
            Act::Read,
            Act::AwaitReply,
            Act::Write(600),
            Act::Shutdown,
            Act::AwaitEnd,
        ];
    }),
    ("an end and no answer", |s| {
        s.server.answer = 0;
        s.server.end = End::HalfClose;
    }),
    ("the server resets", |s| s.server.end = End::Reset),
    ("the server half-closes", |s| s.server.end = End::HalfClose),
    ("writes are cut short", |s| {
        s.noise.write_max = Some(100);
        s.noise.blocks = true;
    }),
    ("readiness that is none", |s| {
        s.noise.spurious = true;
        s.noise.order = true;
    }),
    ("a clock that leaps forward", |s| jump(s, 4_000)),
    ("a clock that goes back", |s| jump(s, -4_000)),
];

/// A server that acts on both copies, and a client that insists.
fn act_twice(scenario: &mut Scenario) {
    scenario.race.peer = Peer::Unaware;
    scenario.race.insist = true;
    scenario.server.debounce = None;
}

/// More than the flight is written, and answered.
fn upload(scenario: &mut Scenario) {
    scenario.client.script = vec![
        Act::Write(600),
        Act::Flush,
        Act::Write(5_000),
        Act::Read,
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    scenario.server.trigger = Trigger::Eof;
}

fn targets(scenario: &mut Scenario, change: impl Fn(&mut Target)) {
    scenario.race.targets.iter_mut().for_each(change);
}

fn delay_fast_open(scenario: &mut Scenario, delay: Duration) {
    targets(scenario, |target| target.fast_open.delay = delay);
}

fn reach(scenario: &mut Scenario, reach: Reach) {
    targets(scenario, |target| target.reach = reach);
}

const fn hedged(first: AttemptKind) -> Schedule {
    let delay = Duration::from_millis(300);
    Schedule::Hedged { first, delay }
}

const fn staggered(first: AttemptKind) -> Schedule {
    let delay = Duration::from_millis(20);
    Schedule::Staggered { first, delay }
}

fn jump(scenario: &mut Scenario, millis: i64) {
    let at = RTT / 5;
    scenario.noise.jump = Some(Jump { at, millis });
}
