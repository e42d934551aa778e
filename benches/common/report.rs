//! What a benchmark has found, as a table or as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::{Args, Series};

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// It may be this high.
    AtMost(f64),
    /// It may be this low.
    AtLeast(f64),
}

impl Bar {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

/// A benchmark's findings.
#[derive(Debug)]
pub struct Report {
    args: Args,
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    /// The limit, the median of all rounds' ratios, and their quartiles.
    beside: Option<(String, f64, f64, [f64; 2])>,
    bar: Option<Bar>,
}

impl Report {
    pub fn new(args: Args, title: impl Into<String>) -> Self {
        Self {
            args,
            title: title.into(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A thing beside its limit.
    pub fn compare(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        ours: &Series,
        (name, limit): (&str, &Series),
        bar: Option<Bar>,
    ) {
        let ratio = ours.ratio(limit);
        let quartiles = [ratio.quantile(0.25), ratio.quantile(0.75)];
        let beside = Some((name.to_owned(), limit.median(), ratio.median(), quartiles));
        self.rows.push(Row {
            what: what.into(),
            unit,
            ours: ours.median(),
            beside,
            bar,
        });
    }

    /// A figure that has its limit in itself.
    pub fn fact(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        figure: f64,
        bar: Option<Bar>,
    ) {
        self.rows.push(Row {
            what: what.into(),
            unit,
            ours: figure,
            beside: None,
            bar,
        });
    }

    /// A line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it all.
    pub fn print(&self) {
        if self.args.json {
            println!("{:#}", self.json());
        } else {
            print!("{self}");
        }
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({
            "title": self.title,
            "quick": self.args.quick,
            "rows": rows,
            "notes": self.notes,
        })
    }
}

impl Row {
    /// What the bar is held against.
    fn figure(&self) -> f64 {
        self.beside
            .as_ref()
            .map_or(self.ours, |(_, _, ratio, _)| *ratio)
    }

    fn json(&self) -> Value {
        let mut row = json!({ "what": self.what, "unit": self.unit, "ours": self.ours });
        if let Some((name, limit, ratio, quartiles)) = &self.beside {
            row["beside"] = json!({
                "what": name, "limit": limit, "ratio": ratio, "quartiles": quartiles,
            });
        }
        if let Some(bar) = self.bar {
            row["bar"] = json!(bar.to_string());
            row["met"] = json!(bar.is_met(self.figure()));
        }
        row
    }

    fn cells(&self, quick: bool) -> [String; 6] {
        let (limit, ratio, spread) = match &self.beside {
            None => (String::new(), String::new(), String::new()),
            Some((name, limit, ratio, [low, high])) => (
                format!("{} {} ({name})", short(*limit), self.unit),
                format!("{ratio:.3}"),
                format!("{low:.3} to {high:.3}"),
            ),
        };
        let bar = self.bar.map_or(String::new(), |bar| {
            let verdict = match bar.is_met(self.figure()) {
                _ if quick => "",
                true => ": met",
                false => ": MISSED",
            };
            format!("bar: {bar}{verdict}")
        });
        let ours = format!("{} {}", short(self.ours), self.unit);
        [self.what.clone(), ours, limit, ratio, spread, bar]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "median", "beside", "ratio", "quartiles", ""].map(str::to_owned);
        let lines: Vec<[String; 6]> = std::iter::once(head)
            .chain(self.rows.iter().map(|row| row.cells(self.args.quick)))
            .collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        });
        let form = if self.args.quick {
            " (short form: the figures mean little)"
        } else {
            ""
        };
        writeln!(f, "{}{form}", self.title)?;
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(widths) {
                text += &format!("{cell:width$}  ");
            }
            writeln!(f, "  {}", text.trim_end())?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// Three digits that count, or all before the point.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 || figure.fract() == 0.0 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
