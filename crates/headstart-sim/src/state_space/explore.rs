//! Every state that can be reached, and every edge from it.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hasher;

use super::actions::actions;
use super::{Action, Bounds, Setup, Taken, Verdict, World, goodwill};

/// How large a state space is, and what came in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// States that differ in what may still become of them.
    pub states: u64,
    /// Actions done in them, each with every rule asserted.
    pub edges: u64,
    /// Events that came in states.
    pub taken: Taken,
}

impl Size {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            states: self.states.saturating_add(other.states),
            edges: self.edges.saturating_add(other.edges),
            taken: self.taken.plus(&other.taken),
        }
    }
}

/// A rule that does not hold, and the shortest way to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// The rule's name, and what was seen.
    pub what: String,
    /// The race.
    pub setup: Box<Setup>,
    /// What happened to it.
    pub story: Vec<Action>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, setup, story } = self;
        write!(f, "{what}\nin {setup:?}\nafter {story:#?}")
    }
}

impl std::error::Error for Broken {}

/// A state, and how it was reached.
struct Node {
    world: World,
    pauses: u8,
    path: usize,
}

/// Every path's last action, and the path before it.
type Paths = Vec<(usize, Option<Action>)>;

/// Breadth first over cloned races: in every state every event of every
/// attempt is told, the application does all that it can, and time passes.
pub(super) fn explore(setup: Setup, bounds: Bounds) -> Result<Size, Broken> {
    let mut paths: Paths = vec![(0, None)];
    let start = World::new(setup).map_err(|what| Broken {
        what,
        setup: Box::new(setup),
        story: Vec::new(),
    })?;
    let mut seen = HashSet::from([key(&start, 0)]);
    let mut frontier = vec![Node {
        world: start,
        pauses: 0,
        path: 0,
    }];
    let mut edges = 0u64;
    let mut taken = Taken::default();
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for node in &frontier {
            judge(setup, &paths, node.path, None, state_rules(&node.world))?;
            for action in actions(&node.world, node.pauses, bounds) {
                edges = edges.saturating_add(1);
                if let Action::Tell(index, event) = action {
                    taken.insert(node.world.phase(index), event);
                }
                let mut world = node.world.clone();
                let verdict = world.apply(action);
                judge(setup, &paths, node.path, Some(action), verdict)?;
                if world.is_like(&node.world) {
                    continue;
                }
                let pauses = node.pauses + u8::from(matches!(action, Action::Pass(_)));
                if seen.insert(key(&world, pauses)) {
                    paths.push((node.path, Some(action)));
                    next.push(Node {
                        world,
                        pauses,
                        path: paths.len() - 1,
                    });
                }
            }
        }
        frontier = next;
    }
    Ok(Size {
        states: seen.len() as u64,
        edges,
        taken,
    })
}

/// What must hold of every state, and takes more than a look at it.
fn state_rules(world: &World) -> Verdict {
    goodwill::no_lost_wake_up(world)?;
    for good in 0..world.legs.len() {
        if world.contends(good) {
            goodwill::r15_progress(world, good)?;
            goodwill::r16_write_then_drop(world, good)?;
        }
    }
    Ok(())
}

fn judge(
    setup: Setup,
    paths: &Paths,
    mut path: usize,
    last: Option<Action>,
    verdict: Verdict,
) -> Result<(), Broken> {
    let Err(what) = verdict else {
        return Ok(());
    };
    let mut story: Vec<_> = last.into_iter().collect();
    while let (before, Some(action)) = paths[path] {
        story.push(action);
        path = before;
    }
    story.reverse();
    let setup = Box::new(setup);
    Err(Broken { what, setup, story })
}

fn key(world: &World, pauses: u8) -> u128 {
    let mut mix = Mix(u128::from(pauses));
    world.key(&mut mix);
    mix.0
}

/// A hash of 128 bits that is quick without an optimizer. No state is missed
/// by a collision in practice: a million states collide once in 2^88 runs.
struct Mix(u128);

impl Mix {
    fn mix(&mut self, value: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = (self.0 ^ u128::from(value)).wrapping_mul(ODD);
        self.0 ^= self.0 >> 71;
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }
}
