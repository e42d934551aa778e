//! How tests run, and what they wait for.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test binary uses its own part"
)]

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use headstart_lab::{Family, Lab};
use headstart_socket::{self as socket, ListenOptions, Options, TcpInfo};
use libtest_mimic::Trial;

use crate::common::{self, Outcome};

/// Round trip of labs in which time is of the matter.
pub const RTT: Duration = Duration::from_millis(50);
pub use crate::common::PATIENCE;
/// Set to the name of a test that is to run in a process of its own.
pub const ALONE: &str = "HEADSTART_TEST_ALONE";
/// Where cookies are fetched, so that no test's server sees it.
const COOKIE_PORT: u16 = 7400;

/// A test and its name.
pub type Test = (&'static str, fn() -> Outcome);

/// Lists a module's tests.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub fn tests() -> Vec<crate::harness::Test> {
            vec![$((stringify!($name), $name as fn() -> crate::common::Outcome)),+]
        }
    };
}
pub(crate) use tests;

/// Lists a module's tests that are for any runtime.
macro_rules! tests_of {
    ($runtime:ident: $($name:ident),+ $(,)?) => {
        pub fn tests<$runtime: crate::common::runtimes::Rt>() -> Vec<crate::harness::Test> {
            vec![$((stringify!($name), $name::<$runtime> as fn() -> crate::common::Outcome)),+]
        }
    };
}
pub(crate) use tests_of;

/// A test that shares this process.
pub fn trial(module: &str, (name, test): Test) -> Trial {
    common::trial(format!("{module}::{name}"), test)
}

/// A test that has a process of its own.
pub fn trial_alone(module: &str, (name, _): Test) -> Trial {
    let full = format!("{module}::{name}");
    common::trial(full.clone(), move || {
        let done = Command::new(std::env::current_exe()?)
            .env(ALONE, &full)
            .output()?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into()),
        }
    })
}

/// Runs one test and ends the process.
pub fn run_alone(tests: &[(&str, Test)], name: &OsStr) -> ! {
    let found = tests
        .iter()
        .find(|(module, (known, _))| OsStr::new(&format!("{module}::{known}")) == name);
    let result = match found {
        Some((_, (_, test))) => test(),
        None => Err("no such test".into()),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0)
}

/// Locks, whoever panicked before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("never: {what}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Fails what takes too long.
pub async fn within<T>(what: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("too long: {what}"),
        )),
    }
}

/// Gives the client's kernel a cookie of the server's.
pub fn fetch_cookie(lab: &Lab, family: Family) -> io::Result<()> {
    fetch_cookie_of(lab, lab.server_addr(family))
}

/// The same with an address of the server's.
pub fn fetch_cookie_of(lab: &Lab, address: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(address, COOKIE_PORT);
    let _listening = lab
        .server()
        .run(|| socket::listen(address, &ListenOptions::new()))??;
    lab.client().run(|| {
        let attempt = socket::connect(address, socket::Kind::FastOpen, b"?", &Options::new())?;
        until("a cookie", || {
            TcpInfo::of(&attempt.stream).is_ok_and(|info| !info.state.is_handshake())
        })?;
        socket::close_abortively(attempt.stream)
    })?
}
