//! Tests that go by the clock, on machines that others use too.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// How late a sleeping thread wakes at most where the machine does not stand still:
/// beside two compilers on two cores it was 7 ms.
const LATE: Duration = Duration::from_millis(10);
/// How long it sleeps.
const TICK: Duration = Duration::from_millis(2);
/// Most runs of one test.
const RUNS: u32 = 3;

/// Runs a test that goes by the clock, and again, at most twice, if it failed
/// while the machine stood still.
///
/// It stood still if a thread that wanted to go on had to wait for more than 10 ms
/// on any of its processors: other work, or another guest of its host, had them.
/// Packets are late then, timers too, and what the test saw is not what it asked
/// for. Each failure that is passed over is told on standard error; where the
/// machine ran, a failure or a panic is the result at once.
///
/// ```no_run
/// use headstart_lab::{Family, Lab, LabError, steadily};
/// # fn round_trips(lab: &Lab) -> f64 { 1.0 }
///
/// steadily(|| {
///     let lab = Lab::builder().build()?;
///     assert!(round_trips(&lab) < 1.1);
///     Ok::<_, LabError>(())
/// })
/// # .unwrap();
/// ```
///
/// # Errors
///
/// Those of the test.
///
/// # Panics
///
/// Where the test does.
pub fn steadily<T, E: fmt::Debug>(mut test: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..RUNS {
        let watches = watch_all();
        let outcome = catch_unwind(AssertUnwindSafe(&mut test));
        let late = watches.into_iter().map(Watch::stop).max();
        let late = late.unwrap_or_default();
        match outcome {
            Ok(Err(error)) if late > LATE => passed_over(late, &format_args!("{error:?}")),
            Err(_) if late > LATE => passed_over(late, &"a panic, told above"),
            Ok(result) => return result,
            Err(panic) => resume_unwind(panic),
        }
    }
    test()
}

fn passed_over(late: Duration, why: &dyn fmt::Display) {
    eprintln!("the machine stood still for {late:.1?}; run again, for: {why}");
}

/// A watch over each processor that this thread may use; none if the kernel has
/// no threads left to give.
fn watch_all() -> Vec<Watch> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .map_while(|cpu| Watch::start(cpu).ok())
        .collect()
}

/// A thread that sleeps over and over, and notes how late it wakes.
struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    fn start(cpu: usize) -> io::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let until = done.clone();
        let thread = thread::Builder::new().name(format!("watch {cpu}"));
        let thread = thread.spawn(move || {
            // Wherever the kernel lets it run otherwise.
            let mut only = CpuSet::new();
            let _ = only
                .set(cpu)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
            let mut latest = Duration::ZERO;
            while !until.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(TICK);
                latest = latest.max(slept.elapsed().saturating_sub(TICK));
            }
            latest
        })?;
        Ok(Self { done, thread })
    }

    /// Ends it; the longest time that it waited for its processor.
    fn stop(self) -> Duration {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::process::Command;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Stops this whole process for 50 ms, once its watches sleep. One test at a
    /// time does, as all go on when any does.
    fn stand_still() {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(10 * LATE);
        let script = "kill -STOP $0; sleep 0.05; kill -CONT $0";
        let id = std::process::id().to_string();
        let done = Command::new("sh").args(["-c", script, &id]).status();
        assert!(done.unwrap().success());
    }

    #[test]
    fn a_machine_that_stands_still_is_noticed() {
        let watches = watch_all();
        assert!(!watches.is_empty());
        stand_still();
        for watch in watches {
            assert!(watch.stop() > LATE);
        }
    }

    #[test]
    fn what_fails_while_the_machine_stands_still_runs_again() {
        let mut runs = 0;
        let outcome = steadily(|| {
            runs += 1;
            if runs < RUNS {
                stand_still();
            }
            match runs {
                1 => panic!("the first time"),
                2 => Err("the second time"),
                _ => Ok(()),
            }
        });
        assert_eq!((outcome, runs), (Ok(()), RUNS));
    }

    #[test]
    fn what_always_fails_fails() {
        let mut runs = 0;
        let outcome: Result<(), _> = steadily(|| {
            runs += 1;
            stand_still();
            Err("always")
        });
        assert_eq!((outcome, runs), (Err("always"), RUNS));
    }

    #[test]
    fn what_passes_runs_once() {
        let mut runs = 0;
        let outcome = steadily(|| {
            runs += 1;
            stand_still();
            Ok::<_, Infallible>(7)
        });
        assert_eq!((outcome, runs), (Ok(7), 1));
    }

    #[test]
    #[should_panic(expected = "always")]
    fn a_panic_is_one() {
        let _: Result<(), Infallible> = steadily(|| panic!("always"));
    }
}
