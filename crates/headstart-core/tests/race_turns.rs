//! When each address's turn comes.

use core::time::Duration;

use headstart_core::config::{FirstFlight, Peer};
use headstart_core::race::{Event, Progress, SynData};
use headstart_core::{Instant, Race, RaceConfig, Step};

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Only what leads a turn moves the next: a Fast Open attempt that starts late,
/// for its flight was late, must not delay plain to the next address.
#[test]
fn r9_a_late_fast_open_delays_no_address() {
    let config = RaceConfig::builder()
        .target(1_400)
        .target(1_400)
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::FirstCome)
        .address_delay(Duration::from_millis(250))
        .build()
        .unwrap();
    let mut race = Race::new(config, at(0));
    let id = |race: &Race, index| race.id(index).unwrap();
    let plain = id(&race, 0);
    assert_eq!(race.poll(at(0)), Step::Start(plain));
    race.handle(at(0), plain, Event::Started(Progress::Handshake));

    let _ = race.write(at(100), b"late");
    race.end_flight(at(100));
    let fast_open = id(&race, 1);
    assert_eq!(race.poll(at(100)), Step::Start(fast_open));
    race.handle(at(100), fast_open, Event::Started(Progress::DataInSyn(4)));

    assert_eq!(race.poll(at(100)), Step::Wait(Some(at(250))));
    assert_eq!(race.poll(at(250)), Step::Start(id(&race, 2)));
}

/// RFC 8305 section 5: an open connection stops the addresses that have not
/// been tried, and nobody wakes up for their turns.
#[test]
fn r14_no_address_is_tried_once_plain_is_open() {
    let config = RaceConfig::builder()
        .target(1_400)
        .target(1_400)
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::FirstCome)
        .build()
        .unwrap();
    let mut race = Race::new(config, at(0));
    let plain = race.id(0).unwrap();
    assert_eq!(race.poll(at(0)), Step::Start(plain));
    race.handle(at(0), plain, Event::Started(Progress::Handshake));
    assert_eq!(race.poll(at(0)), Step::Wait(Some(at(250))));
    race.handle(at(40), plain, Event::Opened(SynData::None));
    assert_eq!(race.poll(at(40)), Step::Wait(None));
    assert_eq!(race.poll(at(300)), Step::Wait(None));
    assert_eq!(race.snapshot().turns, 1);
}
