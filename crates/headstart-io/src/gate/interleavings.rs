//! Copies that come at the same moment, at gates that share their memory, in
//! thousands of orders.

use std::sync::Arc;

use headstart_core::debounce::Config;
use headstart_core::framing::Framing;
use headstart_core::time::Instant;
use shuttle::thread;

use super::builder::Settings;
use super::hall::Shared;
use super::pairs::Limits;
use super::slot::Copy;
use super::{ADMITTED_DEFAULT, Claims, GateCounters, GateEvent, MESSAGE_TIMEOUT, WAITING_DEFAULT};
use crate::interleavings::{ADDRESS, Net, Peers, in_many_orders};
use crate::sync::{Mutex, lock};

/// What the gates tell, in its order.
type Story = Arc<Mutex<Vec<GateEvent>>>;

/// A gate that shares claims, and so pairs.
fn gate(net: Net, claims: Claims, story: Story) -> Arc<Shared<Net>> {
    let pairs = claims.pairs(Limits::default());
    let settings = Settings {
        framing: Framing::tls_client_hello(),
        pairs: Some(pairs.expect("the same limits")),
        claims: Some(claims),
        message_timeout: MESSAGE_TIMEOUT,
        message_max: 100,
        waiting_max: WAITING_DEFAULT,
        admitted_max: ADMITTED_DEFAULT,
        watcher: Some(Arc::new(move |event| lock(&story).push(event))),
    };
    Arc::new(Shared::new(net, settings))
}

fn name_of(event: &GateEvent) -> &'static str {
    match event {
        GateEvent::Admitted { .. } => "admitted",
        GateEvent::PairOpened { .. } => "opened",
        GateEvent::Paired { .. } => "paired",
        _ => "something else",
    }
}

#[test]
fn p2_of_copies_that_come_at_once_one_is_let_in_and_all_are_joined() {
    in_many_orders(|| {
        let net = Net::new(Peers::Open);
        let config = Config {
            capacity: 100,
            ..Config::default()
        };
        let claims = Claims::new(config).expect("sane settings");
        let story = Story::default();
        let coming: Vec<_> = (0..3)
            .map(|_| {
                let (net, claims, stream) = (net.clone(), claims.clone(), net.accepted());
                let story = story.clone();
                thread::spawn(move || {
                    let gate = gate(net, claims, story);
                    let copy = Copy {
                        stream,
                        peer: ADDRESS,
                        beyond: Vec::new(),
                    };
                    gate.decide(copy, b"the first message".to_vec(), Instant::default());
                    gate
                })
            })
            .collect();
        let gates: Vec<_> = coming
            .into_iter()
            .map(|gate| gate.join().expect("no panic"))
            .collect();
        let counted = |count: fn(&GateCounters) -> u64| -> u64 {
            let counters = gates.iter().map(|gate| gate.counts.snapshot());
            counters.map(|counters| count(&counters)).sum()
        };
        assert_eq!(counted(|counters| counters.first), 1);
        assert_eq!(counted(|counters| counters.joined), 2);
        assert_eq!(counted(|counters| counters.duplicates), 0);
        let admitted = gates
            .iter()
            .map(|gate| lock(&gate.hall).admitted.len())
            .sum::<usize>();
        assert_eq!(admitted, 1);
        let told: Vec<_> = lock(&story).iter().map(name_of).collect();
        assert_eq!(told, ["admitted", "opened", "paired", "paired"]);
    });
}
