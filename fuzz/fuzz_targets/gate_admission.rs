//! Gates on a virtual network: pieces, ends, failures, floods, full halls and
//! times of any kind. The rules are those of the driver's tests.

#![no_main]

#[path = "../../crates/headstart-io/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use headstart_core::framing::FLIGHT_MAX;
use headstart_io::AfterAcceptError;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use support::world::{CLIENTS_MAX, Plan, Shape};
use support::{Act, Setup, World};

const ACTS_MAX: usize = 600;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(setup) = setup(&mut bytes) else {
        return;
    };
    let mut world = World::new(setup);
    let mut acts = Vec::new();
    while !bytes.is_empty() && acts.len() < ACTS_MAX {
        let Ok((act, times)) = act(&mut bytes) else {
            break;
        };
        for time in 0..times {
            let act = another(act, time);
            acts.push(act);
            if let Err(broken) = world.apply(act) {
                panic!("{broken}, by the last of {acts:?} of {setup:?}");
            }
        }
    }
    if let Err(broken) = world.finish() {
        panic!("{broken}, after {acts:?} of {setup:?}");
    }
});

fn setup(bytes: &mut Unstructured<'_>) -> Result<Setup> {
    Ok(Setup {
        shape: *bytes.choose(&[
            Shape::Noise,
            Shape::Storj,
            Shape::Token,
            Shape::TokenBehind,
            Shape::Prefix,
            Shape::Tls,
        ])?,
        debounce: bytes.ratio(7, 8)?,
        message_max: *bytes.choose(&[FLIGHT_MAX, FLIGHT_MAX, 1, 40, 100, 5000])?,
        message_timeout: Duration::from_millis(*bytes.choose(&[10_000, 10_000, 1, 900])?),
        waiting_max: *bytes.choose(&[CLIENTS_MAX, 1, 2, 5, 70])?,
        admitted_max: *bytes.choose(&[CLIENTS_MAX, 1, 2, 5, 70])?,
    })
}

/// What happens, and how many times: only floods come more than once.
fn act(bytes: &mut Unstructured<'_>) -> Result<(Act, usize)> {
    Ok(match bytes.int_in_range(0..=24)? {
        0..=4 => (Act::Connect(plan(bytes)?), 1),
        5 => (Act::Connect(plan(bytes)?), *bytes.choose(&[2, 8, 70])?),
        6..=9 => (Act::Deliver(client(bytes)?, size(bytes)?), 1),
        10 => (Act::Deliver(client(bytes)?, 1), *bytes.choose(&[2, 8, 70])?),
        11 => (Act::DeliverAll, 1),
        12 => (Act::End(client(bytes)?), 1),
        13 => (Act::Fail(client(bytes)?), 1),
        14 => (Act::CryWolf(client(bytes)?), 1),
        15 => {
            let after = *bytes.choose(&[
                AfterAcceptError::BackOff,
                AfterAcceptError::Retry,
                AfterAcceptError::BackOff,
                AfterAcceptError::Stop,
            ])?;
            (Act::FailAccept(after), 1)
        }
        16..=17 => (Act::Accept, 1),
        18 => (Act::GiveUp(client(bytes)?), 1),
        19 => (Act::Take, 1),
        20 => (Act::Read(client(bytes)?, size(bytes)?), 1),
        21 => (Act::Alarm, 1),
        22 => (Act::Busy(bytes.int_in_range(1..=80)?), 1),
        23 => {
            let act = *bytes.choose(&[
                Act::LookAway,
                Act::LookAgain,
                Act::LookAway,
                Act::LookAgain,
                Act::Close,
            ])?;
            (act, 1)
        }
        _ => (
            Act::Pass(Duration::from_millis(bytes.arbitrary::<u16>()?.into())),
            1,
        ),
    })
}

/// Floods are of different clients, and half of them of different messages.
fn another(act: Act, time: usize) -> Act {
    match act {
        Act::Deliver(client, bytes) => Act::Deliver(client + time, bytes),
        Act::Connect(plan) if plan.message % 2 == 0 => Act::Connect(Plan {
            message: plan.message.wrapping_add(time as u8),
            ..plan
        }),
        act => act,
    }
}

fn plan(bytes: &mut Unstructured<'_>) -> Result<Plan> {
    Ok(Plan {
        message: bytes.int_in_range(0..=7)?,
        body: *bytes.choose(&[0, 0, 1, 20, 255])?,
        tail: *bytes.choose(&[0, 3, 255])?,
        spoilt: match bytes.ratio(1, 8)? {
            true => Some(bytes.arbitrary()?),
            false => None,
        },
        syn_data: *bytes.choose(&[Some(false), Some(true), None])?,
    })
}

fn client(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(bytes.arbitrary::<u8>()?.into())
}

fn size(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match bytes.arbitrary::<u8>()? {
        few @ 0..=200 => few.into(),
        many => usize::from(many - 200) * 256,
    })
}
