//! The conformance entry: it lets the driver of this crate pass, finds every
//! driver that is wrong on purpose, and tells the same each time.

mod saboteur;

use headstart_sim::conformance::{Origin, Settings, check, named};
use headstart_sim::{Headstart, Scenario};
use saboteur::{Saboteur, Wrong};

/// Seeds in which each fault is found, besides the named scenarios.
const SEEDS: u64 = 50;

#[test]
fn the_driver_of_this_crate_passes() {
    let report = check(Settings::seeds(2_000), |dial, net| {
        Headstart::dial(dial.config, net)
    });
    report.assert();
    assert_eq!((report.named, report.seeds), (named().len() as u64, 2_000));
    assert!(report.raced > 900, "{report}");
}

#[test]
fn a_box_is_a_driver_too() {
    check(Settings::seeds(10), |dial, net| {
        let driver: Box<dyn headstart_sim::Driver> = Box::new(Headstart::dial(dial.config, net));
        driver
    })
    .assert();
}

#[test]
fn every_fault_is_found_under_the_name_of_its_rule() {
    for (wrong, rule) in Wrong::ALL {
        let report = check(Settings::seeds(SEEDS), |dial, net| {
            Saboteur::dial(wrong, dial.config, net)
        });
        match rule {
            None => report.assert(),
            Some(rule) => {
                let found: Vec<_> = report.broken.iter().map(|broken| broken.rule).collect();
                assert!(found.contains(&rule), "{wrong:?} breaks {rule}: {found:?}");
            }
        }
    }
}

/// The report names where it was, and shows it small and with its trace.
#[test]
fn what_is_broken_is_shown() {
    let report = check(Settings::seeds(0), |dial, net| {
        Saboteur::dial(Wrong::Garble, dial.config, net)
    });
    let broken = report.broken.iter().find(|broken| broken.rule == "R2");
    let broken = broken.unwrap_or_else(|| panic!("R2 is not broken: {report}"));
    assert!(matches!(broken.origin, Origin::Named(_)), "{report}");
    assert!(!broken.trace.is_empty());
    let text = report.to_string();
    assert!(text.contains("R2 is broken in "), "{text}");
    assert!(text.contains("handler called"), "{text}");
}

#[test]
fn seeds_are_those_that_were_asked() {
    let report = check(Settings::seeds(40).from(1_000), |dial, net| {
        Saboteur::dial(Wrong::StaleDeadline, dial.config, net)
    });
    let poll = report.broken.iter().find(|broken| broken.rule == "poll");
    assert!(poll.is_some_and(|poll| poll.times > 40), "{report}");
    assert!(report.to_string().contains("40 from 1000"), "{report}");
}

#[test]
fn named_scenarios_have_names_of_their_own_and_make_sense() {
    let names: std::collections::HashSet<_> = named().into_iter().map(|n| n.name).collect();
    assert_eq!(names.len(), named().len());
    let sane = |scenario: &Scenario| scenario.config().is_ok();
    assert!(named().iter().all(|named| sane(&named.scenario)));
}
