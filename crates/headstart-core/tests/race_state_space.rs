//! The whole reachable state space of small races, every rule asserted on
//! every edge (R1 to R16): see `headstart_sim::state_space`.
//!
//! With `HEADSTART_STATE_SPACE=full` in the environment every combination of
//! settings is explored by hostile drivers, with every kind of failure and 5
//! bytes: for a release build, and an hour.

use headstart_sim::state_space::{Space, every_setting, spaces};

macro_rules! explored {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let named = |space: &Space| space.name == $name;
                explore(&spaces().into_iter().find(named).expect($name));
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
    three_attempts: "three attempts",
}

#[test]
fn every_combination_of_settings() {
    if std::env::var_os("HEADSTART_STATE_SPACE").is_some_and(|value| value == "full") {
        explore(&every_setting());
    }
}

fn explore(space: &Space) {
    let size = space.explore().unwrap_or_else(|broken| panic!("{broken}"));
    let (states, edges) = (size.states, size.edges);
    println!("{states:>8} states {edges:>9} edges: {}", space.name);
}
