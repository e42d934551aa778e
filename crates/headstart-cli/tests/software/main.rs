//! Software that nobody changes, through `headstart forward`, the lab's path
//! and `headstart gate`: curl and openssl before nginx, and wrk.

#[path = "../common/mod.rs"]
#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod pages;
#[cfg(target_os = "linux")]
mod restarts;
#[cfg(target_os = "linux")]
mod site;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let ready = headstart_lab::enter()
        .and_then(|()| headstart_lab::check())
        .map_err(|error| error.to_string())
        .and_then(|()| site::tools());
    if let Err(missing) = ready {
        if std::env::var_os("HEADSTART_REQUIRE_LAB").is_some() {
            panic!("cannot run here: {missing}");
        }
        println!("skipped: {missing}");
        return;
    }
    let tests = pages::tests()
        .into_iter()
        .chain(load::tests())
        .chain(restarts::tests())
        .collect();
    libtest_mimic::run(&arguments, tests).exit();
}
