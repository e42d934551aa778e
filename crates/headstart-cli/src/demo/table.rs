//! The table for people, and its footnotes.

use std::fmt;

use comfy_table::{Cell, Color, ContentArrangement, TableComponent};
use headstart_lab::Rule;

use super::measure::Setting;
use super::path::Path;
use super::row::{Column, Row};
use super::way::Way;
use crate::output::millis;

/// By how many round trips an answer may be late and still count as in time.
const IN_TIME: f64 = 0.5;

/// What failed, or came late.
const BAD: Option<Color> = Some(Color::DarkRed);

/// All rows, for people.
pub(super) struct Table<'a> {
    pub(super) rows: &'a [Row],
    pub(super) setting: &'a Setting,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = Notes::default();
        let mut table = comfy_table::Table::new();
        table
            .load_preset(comfy_table::presets::NOTHING)
            .set_style(TableComponent::HeaderLines, '-')
            .set_content_arrangement(ContentArrangement::Dynamic)
            .enforce_styling();
        let titles = Way::ALL.map(Way::title);
        let ends = ["the path ...", "answered by"];
        table.set_header([&ends[..1], &titles, &ends[1..]].concat());
        for row in self.rows {
            table.add_row(cells(row, &mut notes));
        }
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
        }
        writeln!(
            f,
            "Round trips to the first byte of reply, at {} each:\n",
            millis(self.setting.rtt)
        )?;
        write!(f, "{}", table.trim_fmt())?;
        notes.fmt(f)
    }
}

fn cells(row: &Row, notes: &mut Notes) -> Vec<Cell> {
    let mut cells = vec![Cell::new(row.path.summary())];
    for way in Way::ALL {
        let (text, color) = match row.column(way) {
            Some(column) => figure(column),
            None => ("not measured".into(), BAD),
        };
        let mark = note(row, way)
            .map(|note| notes.mark(note))
            .unwrap_or_default();
        let cell = Cell::new(format!("{text}{mark}"));
        cells.push(match color {
            Some(color) => cell.fg(color),
            None => cell,
        });
    }
    cells.push(Cell::new(
        row.column(Way::Headstart)
            .map(answered_by)
            .unwrap_or_default(),
    ));
    cells
}

/// Round trips, or what went wrong.
fn figure(column: &Column) -> (String, Option<Color>) {
    let middle = &column.middle;
    let (mut text, mut color) = match (middle.round_trips, &middle.short) {
        (Some(trips), _) => (format!("{trips:.1}"), color_of(trips)),
        (None, Some(why)) => match middle.failed_after {
            Some(trips) => (format!("{why} at {trips:.1}"), BAD),
            None => (why.clone(), BAD),
        },
        (None, None) => ("failed".into(), BAD),
    };
    if middle.then.is_some() {
        text.push_str(", then dead");
        color = BAD;
    }
    match column.odd_admissions() {
        None => {}
        // A dial that never reached the server is no surprise.
        Some(0) if middle.round_trips.is_none() => {}
        Some(2) => text.push_str(", admitted twice"),
        Some(0) => text.push_str(", never admitted"),
        Some(times) => text.push_str(&format!(", admitted {times} times")),
    }
    (text, color)
}

fn color_of(trips: f64) -> Option<Color> {
    if trips < 1.0 + IN_TIME {
        Some(Color::DarkGreen)
    } else if trips < 2.0 + IN_TIME {
        None
    } else {
        BAD
    }
}

fn answered_by(column: &Column) -> &'static str {
    let middle = &column.middle;
    match (middle.winner, middle.syn_data) {
        (None, _) => "nobody",
        (Some(_), true) => "Fast Open, data in the SYN",
        (Some(_), false) if middle.fast_open_won() => "Fast Open, data after the SYN",
        (Some(_), false) => "plain",
    }
}

/// What is to be said of a race that was no better than plain.
fn note(row: &Row, way: Way) -> Option<&'static str> {
    let ours = row.column(way).filter(|_| way.is_race())?;
    let plain = row.column(Way::Plain)?.middle.round_trips;
    if ours.middle.then.is_some() {
        return Some(
            "the path lets the first reply pass and then dies. The race was over by then: only \
             a memory of the path helps, by not using Fast Open on it again.",
        );
    }
    if ours.odd_admissions().is_some_and(|times| times > 1) && row.path.is_balanced() {
        return Some(
            "each of the two servers saw one copy, and knows nothing of the other's: a request \
             can be admitted twice. Servers behind one address must share their memory of first \
             messages, or be reached by one connection.",
        );
    }
    let late = match (plain, ours.middle.round_trips) {
        (Some(plain), Some(ours)) => ours > plain + IN_TIME,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let lossy = matches!(
        row.path,
        Path::Under(Rule::LoseFirstSynAck | Rule::LoseFirstServerData)
    );
    match (late, lossy) {
        (false, _) => None,
        (true, _) if way == Way::Headstart => Some("late for a reason that is not known."),
        (true, true) => Some(
            "a server that only debounces takes the first copy that comes: that was the Fast Open copy; the \
             plain copy was turned away as its duplicate, and the answer waits until what was \
             lost on the Fast Open connection is sent again.",
        ),
        (true, false) => Some(
            "a server that only debounces takes the first copy that comes: that was the Fast Open copy; the \
             plain copy was turned away as its duplicate, and on the Fast Open connection no \
             answer can come back.",
        ),
    }
}

/// Footnotes, each once.
#[derive(Debug, Default)]
struct Notes(Vec<&'static str>);

impl Notes {
    /// The mark of a note, such as ` [1]`.
    fn mark(&mut self, note: &'static str) -> String {
        let known = self.0.iter().position(|other| *other == note);
        let index = known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len().saturating_sub(1)
        });
        format!(" [{}]", index.saturating_add(1))
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, note) in self.0.iter().enumerate() {
            let gap = if index == 0 { "\n\n" } else { "\n" };
            write!(f, "{gap}[{}] {note}", index.saturating_add(1))?;
        }
        Ok(())
    }
}
