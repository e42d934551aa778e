//! What the doctor looks at on Linux, all of it in the network namespace in which it runs.

mod capacity;
mod counters;
mod listeners;
mod memory;
mod namespace;
mod owner;
mod queues;
mod settings;

use std::fs;
use std::io;
use std::str::FromStr;

use super::finding::Finding;
pub(super) use namespace::Namespace;
pub(super) use settings::{mend_switches, spoils_exchange, takes_any_data};

/// Every finding but that of the exchange.
pub(super) fn examine(port: Option<u16>, namespace: &Namespace) -> Vec<Finding> {
    let mut findings = vec![namespace.finding()];
    findings.extend(settings::findings(port));
    findings.extend(listeners::findings(port));
    findings.extend(counters::findings());
    findings.push(memory::finding());
    findings.extend(capacity::findings());
    findings
}

/// A sysctl of this thread's network namespace, as text without its line end.
fn sysctl(name: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?;
    Ok(text.trim_end().to_owned())
}

/// A sysctl that is one number.
fn number<T: FromStr>(name: &str) -> io::Result<T> {
    let text = sysctl(name)?;
    text.parse().map_err(|_| {
        let what = format!("{name} is not a number: {text}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// A finding about a setting that could not be read.
fn unread(name: &'static str, setting: &str, error: &io::Error) -> Finding {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "Only root may read it: run the doctor as root.",
        io::ErrorKind::NotFound => "This kernel does not have it, or not in a container.",
        _ => "",
    };
    Finding::unknown(name, format!("{setting}: {error}"), why)
}
