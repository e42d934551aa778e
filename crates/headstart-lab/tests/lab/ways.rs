//! Ways that end, and the servers' other address.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use headstart_lab::{Family, Lab, Way};
use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;

use crate::exchange::{PORT, Seen, ask, exchange_with, serve};
use crate::rules::{
    CLOSE, PATIENCE, RTT, check, expect_round_trips, in_round_trips, is_timeout, text,
};
use crate::trial;

/// How long a packet that is gone is waited for.
const GONE: Duration = Duration::from_millis(300);

type Test = fn(Family) -> Result<(), Failed>;

pub(crate) fn tests() -> Vec<Trial> {
    let all: [(&str, Test); 5] = [
        ("other_address_is_served", other_address),
        ("dead_address_swallows", dead),
        ("unreachable_address_is_refused_by_icmp", unreachable),
        ("address_without_listener_resets", refusing),
        ("plain_dies_after_counts_packets", plain_dies),
    ];
    let each = Family::ALL
        .into_iter()
        .flat_map(|family| all.map(|(name, test)| (family, name, test)));
    each.map(|(family, name, test)| trial(format!("{name}_{family}"), move || test(family)))
        .collect()
}

fn lab() -> Result<Lab, Failed> {
    Ok(Lab::builder().rtt(RTT).build()?)
}

fn dial(lab: &Lab, address: IpAddr, fast_open: bool, patience: Duration) -> Seen {
    exchange_with(lab, SocketAddr::new(address, PORT), fast_open, patience)
}

fn other_address(family: Family) -> Result<(), Failed> {
    let lab = lab()?;
    let _served = serve(lab.server(), lab.other_addr(family));
    let why = || text(&lab.trace());
    let plain = dial(&lab, lab.other_addr(family), false, PATIENCE);
    expect_round_trips(&plain, 2.0, CLOSE, &why)?;
    // It is an address like the first: with cookies of its own.
    let _served = serve(lab.server(), lab.server_addr(family));
    for (address, round_trips) in [
        (lab.other_addr(family), 2.0),
        (lab.server_addr(family), 2.0),
        (lab.other_addr(family), 1.0),
    ] {
        let fast = dial(&lab, address, true, PATIENCE);
        expect_round_trips(&fast, round_trips, CLOSE, &why)?;
    }
    Ok(())
}

/// Nothing comes back, the other address does not mind, and a connection that
/// was there before neither.
fn dead(family: Family) -> Result<(), Failed> {
    let lab = lab()?;
    let (dead, other) = (lab.server_addr(family), lab.other_addr(family));
    let _served = [dead, other].map(|address| serve(lab.server(), address));
    let why = || text(&lab.trace());
    let mut old = dial(&lab, dead, true, PATIENCE)
        .stream
        .ok_or("no connection")?;
    lab.set_way(dead, Way::Dead);
    for fast_open in [false, true] {
        let seen = dial(&lab, dead, fast_open, GONE);
        check(is_timeout(&seen.first_byte), &why)?;
    }
    ask(&mut old)?;
    check(dial(&lab, other, false, PATIENCE).first_byte.is_ok(), &why)?;
    lab.set_way(dead, Way::Open);
    check(dial(&lab, dead, false, PATIENCE).first_byte.is_ok(), &why)
}

fn unreachable(family: Family) -> Result<(), Failed> {
    let lab = lab()?;
    let address = lab.other_addr(family);
    lab.set_way(address, Way::Unreachable);
    for fast_open in [false, true] {
        let seen = dial(&lab, address, fast_open, PATIENCE);
        expect_error(&lab, &seen, Errno::EHOSTUNREACH, 0.5)?;
    }
    Ok(())
}

fn refusing(family: Family) -> Result<(), Failed> {
    let lab = lab()?;
    for fast_open in [false, true] {
        let seen = dial(&lab, lab.other_addr(family), fast_open, PATIENCE);
        expect_error(&lab, &seen, Errno::ECONNREFUSED, 1.0)?;
    }
    Ok(())
}

fn expect_error(lab: &Lab, seen: &Seen, errno: Errno, round_trips: f64) -> Result<(), Failed> {
    let why = || format!("{seen:?}\n{}", text(&lab.trace()));
    let error = seen.first_byte.as_ref().err();
    let code = error.and_then(io::Error::raw_os_error);
    check(code == Some(errno as i32), &why)?;
    let took = in_round_trips(seen.elapsed);
    check((took - round_trips).abs() < CLOSE, &why)
}

/// SYN, SYN-ACK, ACK, request, its acknowledgement, reply: with all six, a
/// reply; and Fast Open, with a cookie or asking for one, always has it.
fn plain_dies(family: Family) -> Result<(), Failed> {
    let lab = lab()?;
    let address = lab.server_addr(family);
    let _served = serve(lab.server(), address);
    let why = || text(&lab.trace());
    for packets in [0, 2, 3] {
        lab.set_way(address, Way::PlainDiesAfter(packets));
        let seen = dial(&lab, address, false, GONE);
        check(is_timeout(&seen.first_byte), &why)?;
    }
    for _ in 0..2 {
        let fast = dial(&lab, address, true, PATIENCE);
        check(fast.first_byte.is_ok(), &why)?;
    }
    lab.set_way(address, Way::PlainDiesAfter(6));
    let mut seen = dial(&lab, address, false, PATIENCE);
    let stream = seen.stream.as_mut().ok_or("no connection")?;
    stream.set_read_timeout(Some(GONE))?;
    check(ask(stream).is_err(), &why)
}
