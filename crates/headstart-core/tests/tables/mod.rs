//! Transition tables, as their text says, against what was taken of them.
#![allow(unreachable_pub, reason = "a test binary is all there is")]

use std::collections::BTreeSet;

/// The last words of what explains a table.
const HEAD_END: &str = "those of never, and none of those.\n";

/// States, each with an event, by their names.
pub type Pairs<'a> = BTreeSet<(&'a str, &'a str)>;

/// What a table says of its pairs.
#[derive(Debug)]
pub struct Table<'a> {
    happens: Pairs<'a>,
    never: Pairs<'a>,
}

impl<'a> Table<'a> {
    /// Reads a table. A line without indent names a state; the lines below it
    /// begin with an event, or with a word before a list of events.
    pub fn new(text: &'a str) -> Self {
        let (mut happens, mut never) = (BTreeSet::new(), BTreeSet::new());
        let (_explanation, blocks) = text.split_once(HEAD_END).unwrap_or_default();
        for block in blocks.split("\n\n") {
            let mut lines = block.trim().lines();
            let state = name(lines.next().unwrap_or_default());
            for line in lines.map(str::trim) {
                let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                match word {
                    "nothing:" => happens.extend(list(rest).map(|event| (state, event))),
                    "never:" => never.extend(list(rest).map(|event| (state, event))),
                    word if word.starts_with('(') => {}
                    event => _ = happens.insert((state, name(event))),
                }
            }
        }
        Self { happens, never }
    }

    /// Fails if anything was taken that never happens.
    pub fn assert_allows<'b>(&self, taken: impl Iterator<Item = (&'b str, &'b str)>) {
        let others: Vec<_> = taken.filter(|pair| !self.happens.contains(pair)).collect();
        assert_eq!(others, [], "taken, but listed as never or not at all");
    }

    /// Fails if anything was not taken that happens.
    pub fn assert_taken<'b>(&self, taken: impl Iterator<Item = (&'b str, &'b str)>) {
        let taken: Pairs = taken.collect();
        let missing: Vec<_> = self.happens.difference(&taken).collect();
        let nothing: [&(&str, &str); 0] = [];
        assert_eq!(missing, nothing, "never taken, but not listed as that");
        assert!(!self.never.is_empty() && self.never.is_disjoint(&self.happens));
    }
}

fn list(events: &str) -> impl Iterator<Item = &str> {
    events.split(',').map(|event| name(event.trim()))
}

/// Without what is in brackets.
fn name(text: &str) -> &str {
    text.split('(').next().unwrap_or_default().trim()
}
