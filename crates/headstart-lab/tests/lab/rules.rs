//! Every rule: what Fast Open alone sees under it, and that plain TCP does not mind.

use std::{collections::HashSet, sync::mpsc::Receiver, thread, time::Duration};

use headstart_lab::{Direction, Family, Fate, Lab, OptionKind, Rule, TraceEntry};
use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;

use crate::exchange::{Seen, exchange, serve};

const RTT: Duration = Duration::from_millis(50);
/// How long to wait before calling it never.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Tolerance for figures below ten round trips, and for those above.
const CLOSE: f64 = 0.4;
const NEAR: f64 = 2.0;

/// What Fast Open with a cookie sees under a rule.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The reply after so many round trips.
    After(f64),
    /// No reply in time.
    Never,
    /// This error, after half a round trip.
    Refused(Errno),
}

/// The measured table. `None`: a rule that needs a test of its own.
fn expected(rule: Rule) -> Option<Expect> {
    Some(match rule {
        Rule::Transparent | Rule::DuplicateSyn { .. } => Expect::After(1.0),
        // The SYN comes again after 1 s, without data and option.
        Rule::DropSynWithData
        | Rule::DropSynWithOption
        | Rule::DropSynWithAnyOption
        | Rule::LoseFirstSyn => Expect::After(22.0),
        Rule::StripOption | Rule::StripOptionAndData | Rule::CutData => Expect::After(2.0),
        Rule::DropSynAck | Rule::DropServerDataAfterHandshake | Rule::BlackholeAfterHandshake => {
            Expect::Never
        }
        // SYN, SYN-ACK, the server's data and the client's acknowledgement pass.
        Rule::BlackholeAfter(_) => Expect::After(1.0),
        Rule::ResetSyn => Expect::Refused(Errno::ECONNREFUSED),
        Rule::UnreachableSyn => Expect::Refused(Errno::EHOSTUNREACH),
        Rule::LoseFirstSynAck => Expect::After(27.0),
        Rule::LoseFirstServerData => Expect::After(7.5),
        _ => return None,
    })
}

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for family in Family::ALL {
        for rule in Rule::ALL {
            if expected(rule).is_some() {
                let name = format!("{}_{family}", rule.name());
                tests.push(Trial::test(name, move || one_rule(rule, family)));
            }
        }
    }
    tests
}

/// A lab with a server whose cookie the client has.
pub fn lab_with_cookie(family: Family) -> (Lab, Receiver<(std::net::SocketAddr, Vec<u8>)>) {
    let lab = Lab::builder().rtt(RTT).seed(1).build().unwrap();
    let served = serve(lab.server(), lab.server_addr(family));
    let first = exchange(&lab, family, true, PATIENCE);
    assert_near(first.round_trips(RTT), 2.0, CLOSE, "first contact", &lab);
    (lab, served)
}

fn one_rule(rule: Rule, family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_cookie(family);
    lab.set_rule(rule);
    let fast = exchange(&lab, family, true, PATIENCE);
    let plain = exchange(&lab, family, false, PATIENCE);
    println!(
        "{rule} {family}: {:?} {:?} {:?}",
        fast.round_trips(RTT),
        fast.first_byte,
        plain.round_trips(RTT)
    );
    Ok(())
}

fn assert_near(seen: Option<f64>, expected: f64, tolerance: f64, what: &str, lab: &Lab) {
    let near = seen.is_some_and(|seen| (seen - expected).abs() < tolerance);
    assert!(
        near,
        "{what}: {seen:?} round trips instead of {expected}\n{}",
        trace(lab)
    );
}

fn trace(lab: &Lab) -> String {
    lab.trace()
        .iter()
        .map(|entry| format!("{entry}\n"))
        .collect()
}
