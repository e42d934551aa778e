//! All connections whose first message is not whole, by when they came and by
//! how long they have been silent.

use std::collections::{BTreeMap, VecDeque};

use headstart_core::time::Instant;

use super::waiting::{Read, Waiting};
use crate::runtime::Stream;

/// Outdated words that are kept however few connections there are.
const SLACK: usize = 64;

/// Connections that wait.
#[derive(Debug)]
pub(super) struct Crowd<S> {
    /// By number: in the order in which they came, and their time is up.
    members: BTreeMap<u64, Waiting<S>>,
    /// Their words, to come or to say something: each word's number, and whose
    /// it is. A connection is silent since its latest; the others are outdated,
    /// and go when they are come upon or outnumber the connections. So a word
    /// costs a constant, on average.
    words: VecDeque<(u64, u64)>,
    next_word: u64,
    next_number: u64,
}

impl<S> Crowd<S> {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            words: VecDeque::new(),
            next_word: 0,
            next_number: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Takes in a connection, made for the number that it gets.
    pub(super) fn insert(&mut self, connection: impl FnOnce(u64) -> Waiting<S>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.members.insert(number, connection(number));
        self.hear(number);
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<&Waiting<S>> {
        self.members.get(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Waiting<S>> {
        self.members.remove(&number)
    }

    /// Takes all out, in the order in which they came.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waiting<S>> {
        self.words = VecDeque::new();
        std::mem::take(&mut self.members).into_values()
    }

    /// Whose time is up first, and when.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        let (number, oldest) = self.members.first_key_value()?;
        Some((*number, oldest.deadline))
    }

    /// Who has been silent for longest.
    pub(super) fn most_silent(&mut self) -> Option<u64> {
        while let Some(&(word, number)) = self.words.front() {
            if is_latest(&self.members, word, number) {
                return Some(number);
            }
            self.words.pop_front();
        }
        None
    }

    /// A connection has said something.
    fn hear(&mut self, number: u64) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        member.word = self.next_word;
        self.words.push_back((self.next_word, number));
        self.next_word += 1;
        if self.words.len() > 2 * self.members.len() + SLACK {
            let members = &self.members;
            self.words
                .retain(|(word, number)| is_latest(members, *word, *number));
        }
    }
}

impl<S: Stream> Crowd<S> {
    /// Reads what a connection has to say, if it is there.
    pub(super) fn read(&mut self, number: u64) -> Option<Read> {
        let member = self.members.get_mut(&number)?;
        let before = member.bytes.len();
        let read = member.read();
        if member.bytes.len() > before {
            self.hear(number);
        }
        Some(read)
    }
}

/// Whether a connection is there and has said nothing after this word.
fn is_latest<S>(members: &BTreeMap<u64, Waiting<S>>, word: u64, number: u64) -> bool {
    members
        .get(&number)
        .is_some_and(|member| member.word == word)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use headstart_core::framing::Framing;

    use super::super::waiting::Ringer;
    use super::*;

    fn come(crowd: &mut Crowd<()>) -> u64 {
        crowd.insert(|number| Waiting {
            stream: (),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scanner: Framing::token().scanner(),
            bytes: Vec::new(),
            deadline: Instant::default(),
            ringer: Ringer::new(number, Default::default()),
            word: 0,
        })
    }

    #[test]
    fn the_most_silent_is_whose_latest_word_is_longest_ago() {
        let mut crowd = Crowd::new();
        assert_eq!(crowd.most_silent(), None);
        let [first, second, third] = std::array::from_fn(|_| come(&mut crowd));
        assert_eq!(crowd.most_silent(), Some(first));
        crowd.hear(first);
        assert_eq!(crowd.most_silent(), Some(second));
        crowd.hear(third);
        crowd.hear(second);
        assert_eq!(crowd.most_silent(), Some(first));
        assert!(crowd.remove(first).is_some());
        assert_eq!(crowd.most_silent(), Some(third));
        crowd.hear(first);
        assert_eq!(crowd.most_silent(), Some(third));
        assert_eq!(crowd.oldest().map(|(number, _)| number), Some(second));
        assert_eq!(crowd.take().count(), 2);
        assert_eq!((crowd.len(), crowd.most_silent()), (0, None));
    }

    #[test]
    fn outdated_words_take_little_room_and_order_nobody_anew() {
        let mut crowd = Crowd::new();
        let silent = come(&mut crowd);
        let speakers: Vec<u64> = (0..50).map(|_| come(&mut crowd)).collect();
        for _ in 0..1000 {
            for speaker in &speakers {
                crowd.hear(*speaker);
                assert!(crowd.words.len() <= 2 * crowd.len() + SLACK);
            }
        }
        for silent in [silent].into_iter().chain(speakers) {
            assert_eq!(crowd.most_silent(), Some(silent));
            assert!(crowd.remove(silent).is_some());
        }
        // Who comes and goes leaves no more.
        for _ in 0..10_000 {
            let passer = come(&mut crowd);
            assert!(crowd.remove(passer).is_some());
            assert!(crowd.words.len() <= 2 + SLACK);
        }
    }
}
