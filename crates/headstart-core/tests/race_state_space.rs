//! The whole reachable state space of small races, every rule asserted on
//! every edge (R1 to R16): see `headstart_sim::state_space`.
//!
//! With `HEADSTART_STATE_SPACE=full` in the environment every combination of
//! settings to one address is explored by hostile drivers, with every kind of
//! failure and 5 bytes, and both kinds of attempt to two addresses by truthful
//! ones: for a release build, and an hour.

mod tables;

use headstart_sim::state_space::{Size, Space, every_setting, spaces, two_addresses};
use tables::Table;

/// The transition table that is reviewed.
const TABLE: &str = include_str!("../src/race/table.txt");

macro_rules! explored {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                explore(&named($name));
            }
        )*

        #[test]
        fn every_space_has_a_test() {
            let names: Vec<_> = spaces().iter().map(|space| space.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

explored! {
    at_once_to_a_pairing_peer: "at once to a pairing peer",
    at_once_to_a_first_come_peer: "at once to a first-come peer",
    handshakes_of_different_lengths: "handshakes of different lengths",
    hostile_drivers: "hostile drivers",
    staggered_and_hedged: "staggered and hedged",
    flights_that_end_when_the_application_says_so: "flights that end when the application says so",
    bytes_that_may_not_be_copied: "bytes that may not be copied",
    bytes_that_may_not_be_copied_to_two: "bytes that may not be copied, to two addresses",
    one_kind_alone: "one kind alone",
    other_settings: "other settings",
    three_attempts_of_one_kind: "three attempts of one kind",
    three_attempts_of_both_kinds: "three attempts of both kinds",
}

#[test]
fn every_combination_of_settings() {
    if std::env::var_os("HEADSTART_STATE_SPACE").is_some_and(|value| value == "full") {
        explore(&every_setting());
        for space in two_addresses() {
            explore(&space);
        }
    }
}

/// Every pair of state and event that the table lists as happening happens;
/// those listed as never do not, here and in every test above.
#[test]
fn every_state_meets_every_event_but_those_of_never() {
    let size = explore(&named("at once to a pairing peer"));
    Table::new(TABLE).assert_taken(size.taken.iter());
}

fn named(name: &str) -> Space {
    let mut spaces = spaces().into_iter();
    spaces.find(|space| space.name == name).expect(name)
}

fn explore(space: &Space) -> Size {
    let size = space.explore().unwrap_or_else(|broken| panic!("{broken}"));
    let (states, edges) = (size.states, size.edges);
    println!("{states:>8} states {edges:>9} edges: {}", space.name);
    if !space.bounds.hostile {
        Table::new(TABLE).assert_allows(size.taken.iter());
    }
    size
}
