//! A race among other clients' first messages: the memory costs a constant an
//! observation, and forgets nothing that it is to remember.

use std::time::Duration;

use headstart_sim::{Crowd, Rule, Scenario, run};

const RTT: Duration = Duration::from_millis(50);

fn among(crowd: Crowd, window: Duration) -> Scenario {
    let mut scenario = Scenario::plainest(Rule::Transparent, RTT).paired();
    scenario.server.debounce = Some(window);
    scenario.server.crowd = Some(crowd);
    scenario
}

/// Every shard is full, all of it grows old at once, and then more come.
#[test]
fn d3_nobody_pays_for_all_that_expire() {
    for seconds in [1, 600] {
        let window = Duration::from_secs(seconds);
        let crowd = Crowd {
            size: 200,
            times: 4,
            every: window + RTT,
            aimed: false,
        };
        let run = run(&among(crowd, window));
        assert_eq!(run.violations, []);
        assert_eq!((run.outcome.handled, run.outcome.read), (1, 600));
    }
}

#[test]
fn d3_digests_aimed_at_one_place_cost_themselves_only() {
    let crowd = Crowd {
        size: 400,
        times: 4,
        every: RTT / 10,
        aimed: true,
    };
    for seed in 0..3 {
        let mut scenario = among(crowd, Duration::from_secs(600));
        scenario.seed = seed;
        let run = run(&scenario);
        assert_eq!(run.violations, []);
        assert_eq!((run.outcome.handled, run.outcome.read), (1, 600));
    }
}
