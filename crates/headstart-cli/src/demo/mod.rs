//! `headstart demo`: real kernels, one hostile path after the other.

mod measure;
mod path;
mod row;
mod server;
mod table;
mod way;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::DemoArgs;
use crate::exit::{Done, Stop};
use crate::output;
use measure::Setting;
use path::Path;
use row::Row;

/// Paths measured at a time. Almost all of the time is waiting, but on a
/// machine of two cores more would disturb each other.
const AT_A_TIME: usize = 12;

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Result<Done, Stop> {
    let cannot = |error| Stop::because("the demo cannot run here", error);
    headstart_lab::enter().map_err(cannot)?;
    headstart_lab::check().map_err(cannot)?;
    let setting = Setting::new(Duration::from_millis(args.rtt));
    let began = Instant::now();
    let rows = measure_all(&setting)?;
    match args.json {
        true => output::json(&Document {
            rtt_ms: args.rtt,
            patience_ms: output::micros(setting.patience) / 1000,
            took_ms: output::micros(began.elapsed()) / 1000,
            rows: &rows,
        })?,
        false => output::line(table::Table {
            rows: &rows,
            setting: &setting,
        })?,
    }
    Ok(Done::Well)
}

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    rtt_ms: u64,
    /// How long a dial waits before it counts as having no answer.
    patience_ms: u64,
    took_ms: u64,
    rows: &'a [Row],
}

/// Measures every path, several at a time, and gives the rows in the order in
/// which they are shown.
fn measure_all(setting: &Setting) -> Result<Vec<Row>, Stop> {
    let paths = Path::all();
    let mut queue: Vec<_> = paths.iter().copied().enumerate().collect();
    // Taken from the end: what takes longest begins first.
    queue.sort_by_key(|(_, path)| path.is_slow());
    let bar = progress_bar(paths.len());
    let (queue, rows) = (Mutex::new(queue), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((index, path)) = next() {
                    let row = measure::row(path, setting);
                    bar.inc(1);
                    rows.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((index, row));
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(index, _)| *index);
    let rows = rows.into_iter().map(|(index, row)| {
        row.map_err(|error| match paths.get(index) {
            Some(path) => Stop::because(format_args!("measuring {}", path.name()), error),
            None => Stop::Because(error.to_string()),
        })
    });
    rows.collect()
}

/// A bar on standard error if that is a terminal, and nothing otherwise.
fn progress_bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("measuring {wide_bar} {pos} of {len} paths") {
        bar.set_style(style);
    }
    bar.tick();
    bar
}
