//! Words and lines of JSON: data on standard output, everything else on
//! standard error.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
#[cfg(target_os = "linux")]
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;

use crate::exit::Stop;

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What deserves a look.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
/// How often a spinner moves.
#[cfg(target_os = "linux")]
const TICK: Duration = Duration::from_millis(100);

/// A value in a style. Where the style is not wanted (no terminal,
/// `NO_COLOR`), the stream that it is written to takes it away.
pub(crate) fn styled(style: Style, value: impl fmt::Display) -> String {
    format!("{style}{value}{style:#}")
}

/// Writes a line for people to standard output.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Stop> {
    writeln!(anstream::stdout().lock(), "{text}").map_err(Stop::output)
}

/// Writes a value to standard output as one line of JSON, and flushes.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Stop> {
    let mut text = serde_json::to_string(value).map_err(|error| Stop::output(error.into()))?;
    text.push('\n');
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Stop::output)
}

/// Tells people something on standard error. If that is closed, nobody wants
/// to know.
pub(crate) fn complain(what: &str, text: &str) {
    let style = if what == "error" { BAD } else { ODD };
    let _ = writeln!(
        anstream::stderr().lock(),
        "headstart: {}: {text}",
        styled(style, what)
    );
}

/// Says what is being done, and moves, on standard error if that is a terminal; otherwise nothing.
/// Gone when dropped.
#[cfg(target_os = "linux")]
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(TICK);
    spinner.with_finish(ProgressFinish::AndClear)
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A time for people.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// A number of seconds for people: `3 s`, `2.5 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// How often, for people.
#[cfg(target_os = "linux")]
pub(crate) fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}
