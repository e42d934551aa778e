//! The frame of transition tables: text that a reader can check. What it says
//! of runs, the exhaustive tests confirm (`tests/tables`).

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What a state does with an event.
pub(crate) struct Entry {
    /// The event, with the numbers that it was tried with.
    pub(crate) event: String,
    /// Whether any run brings it about.
    pub(crate) happens: bool,
    /// The next state and the effect; nothing, if neither changes.
    pub(crate) change: Option<(String, String)>,
}

impl Entry {
    /// Without its numbers.
    fn name(&self) -> String {
        let name = self.event.split('(').next();
        String::from(name.unwrap_or_default())
    }
}

/// One state and all events, which are in order of their names.
pub(crate) fn block(state: &str, entries: &[Entry]) -> String {
    let mut text = format!("\n{state}\n");
    for entry in entries.iter().filter(|entry| entry.happens) {
        if let Some(change) = &entry.change {
            text += &line("    ", &entry.event, change, "");
        }
    }
    let changes = |name: &str| {
        let mut like = entries.iter().filter(|entry| entry.name() == name);
        like.any(|entry| entry.change.is_some())
    };
    let nothing = |entry: &&Entry| entry.happens && entry.change.is_none();
    text += &list(
        "nothing: ",
        entries.iter().filter(nothing).map(|entry| {
            let name = entry.name();
            if changes(&name) {
                entry.event.clone()
            } else {
                name
            }
        }),
    );
    let never = || entries.iter().filter(|entry| !entry.happens);
    text += &list("never:   ", never().map(Entry::name));
    for entry in never() {
        if let Some(change) = &entry.change {
            text += &line("       (", &entry.event, change, ")");
        }
    }
    text
}

fn line(before: &str, event: &str, (next, effect): &(String, String), after: &str) -> String {
    let width = 30_usize.saturating_sub(before.len());
    let line = format!("{before}{event:<width$} -> {next:<39} {effect}");
    format!("{}{after}\n", line.trim_end())
}

fn list(title: &str, names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<_> = names.collect();
    names.dedup();
    match names.is_empty() {
        true => String::new(),
        false => format!("    {title}{}\n", names.join(", ")),
    }
}

/// Fails if the table is not as in the file. With `UPDATE_SNAPSHOTS=1` in the
/// environment the file is written instead.
pub(crate) fn assert_reviewed(file: &str, table: &str) {
    let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&path, table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(table, reviewed, "see `UPDATE_SNAPSHOTS` above");
}
