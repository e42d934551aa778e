//! The process that was started as `headstart lab` only keeps watch over another one, which is the
//! lab. Whichever of the two is killed, the other ends all that was started.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::LabArgs;
use super::children::{Children, GOODBYE};
use super::commands;
use crate::exit::{Done, Stop};
use crate::output::complain;

/// The lab's name among processes, before the keeper's number.
const NAME: &str = "headstart-lab-of-";
/// How long the lab may take to end: its client, then its servers, each by being asked and killed.
const LONG_GOODBYE: Duration = GOODBYE.saturating_mul(4);

/// Runs the command; it ends as the client's command does.
pub(crate) fn run(args: &LabArgs) -> Result<Done, Stop> {
    commands::split(&args.commands)?;
    let cannot = |error| Stop::because("watching over the commands", error);
    match keeper() {
        Some(keeper) => {
            let children = Children::new().map_err(cannot)?;
            commands::run(args, children, || obey(keeper))
        }
        None => {
            let mut children = Children::new().map_err(cannot)?;
            let done = keep(&mut children);
            if !children.end() {
                complain("warning", "not every process of the lab could be ended");
            }
            done
        }
    }
}

/// Starts the lab, and waits for it.
fn keep(children: &mut Children) -> Result<Done, Stop> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(format!("{NAME}{}", std::process::id()))
        .args(env::args_os().skip(1));
    let lab = children.start(&mut command);
    let lab = lab.map_err(|error| Stop::because("starting the lab", error))?;
    let ended = children.attend(&lab, LONG_GOODBYE);
    let ended = ended.map_err(|error| Stop::because("waiting for the lab", error))?;
    Ok(Done::Status(ended.code()))
}

/// The keeper of this process, if it is the lab.
fn keeper() -> Option<i32> {
    let name = env::args_os().next()?;
    name.to_str()?.strip_prefix(NAME)?.parse().ok()
}

/// Has the kernel ask this process to end when its keeper is gone.
fn obey(keeper: i32) -> Result<(), Stop> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Stop::because("watching the lab's keeper", error))?;
    match getppid() {
        Some(parent) if parent.as_raw_nonzero().get() == keeper => Ok(()),
        _ => Err(Stop::Because("the lab's keeper is gone".into())),
    }
}
