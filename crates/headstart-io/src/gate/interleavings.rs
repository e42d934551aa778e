//! Copies that come at the same moment, at gates that share their memory, in
//! thousands of orders.

use std::sync::Arc;

use headstart_core::debounce::Config;
use headstart_core::framing::Framing;
use headstart_core::time::Instant;
use shuttle::thread;

use super::builder::Settings;
use super::hall::Shared;
use super::pairs::{Limits, Pairs};
use super::slot::Copy;
use super::{ADMITTED_DEFAULT, Claims, GateCounters, MESSAGE_TIMEOUT, WAITING_DEFAULT};
use crate::interleavings::{ADDRESS, Net, Peers, in_many_orders};
use crate::sync::lock;

/// Gates that share claims and pairs.
fn gates<const N: usize>(net: &Net) -> [Arc<Shared<Net>>; N] {
    let config = Config {
        capacity: 100,
        ..Config::default()
    };
    let claims = Claims::new(config).expect("sane settings");
    let pairs = Pairs::new(Limits::default());
    std::array::from_fn(|_| {
        let settings = Settings {
            framing: Framing::tls_client_hello(),
            claims: Some(claims.clone()),
            pairs: Some(pairs.clone()),
            message_timeout: MESSAGE_TIMEOUT,
            message_max: 100,
            waiting_max: WAITING_DEFAULT,
            admitted_max: ADMITTED_DEFAULT,
            watcher: None,
        };
        Arc::new(Shared::new(net.clone(), settings))
    })
}

#[test]
fn p2_of_copies_that_come_at_once_one_is_let_in_and_all_are_joined() {
    in_many_orders(|| {
        let net = Net::new(Peers::Open);
        let gates: [_; 3] = gates(&net);
        let coming: Vec<_> = gates
            .iter()
            .map(|gate| {
                let (gate, stream) = (gate.clone(), net.accepted());
                thread::spawn(move || {
                    let copy = Copy {
                        stream,
                        peer: ADDRESS,
                        beyond: Vec::new(),
                    };
                    gate.decide(copy, b"the first message".to_vec(), Instant::default());
                })
            })
            .collect();
        for copy in coming {
            copy.join().expect("no panic");
        }
        let counted = |count: fn(&GateCounters) -> u64| -> u64 {
            let counters = gates.iter().map(|gate| gate.counts.snapshot(0));
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
    });
}
