//! Wall time, and the CPU time of one thread.

use std::time::{Duration, Instant};

/// CPU time that the calling thread has used, its system calls included.
#[cfg(unix)]
pub fn thread_cpu() -> Duration {
    use nix::time::ClockId;
    match ClockId::CLOCK_THREAD_CPUTIME_ID.now() {
        Ok(time) => time.into(),
        Err(error) => panic!("no clock of the thread's CPU time: {error}"),
    }
}

/// Where threads have no such clock: wall time.
#[cfg(not(unix))]
pub fn thread_cpu() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Measures CPU and wall time of the thread that started it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self {
            cpu: thread_cpu(),
            wall: Instant::now(),
        }
    }

    /// CPU and wall time since the start, each divided by `count`, in
    /// nanoseconds.
    pub fn each(self, count: usize) -> [f64; 2] {
        let (wall, cpu) = (self.wall.elapsed(), thread_cpu() - self.cpu);
        [cpu, wall].map(|time| time.as_secs_f64() * 1e9 / count as f64)
    }
}
