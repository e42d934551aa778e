//! Contents as lines of JSON.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use headstart_core::path::{PathKey, Remembered, Standing, Trouble, WallTime};
use headstart_core::peers::NodeUrl;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::contents::Contents;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum Line {
    HeadstartMemory {
        version: u32,
    },
    /// A path on which Fast Open is used.
    Open {
        local: IpAddr,
        peer: SocketAddr,
        noted: u64,
        trust: u8,
        asked: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relapse: Option<(u8, u64)>,
    },
    /// A path on which it is not.
    Suspended {
        local: IpAddr,
        peer: SocketAddr,
        noted: u64,
        trouble: String,
        doublings: u8,
        until: u64,
    },
    Peer {
        url: String,
    },
    End {
        lines: usize,
        /// XXH3 of 64 bits over everything before this line, in hexadecimal.
        sum: String,
    },
}

/// Why a file was taken for empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// It is something else. It is left as it is.
    Foreign,
    /// It is of a newer version, this. It is left as it is.
    Newer(u32),
    /// It is damaged. It is written anew.
    Damaged {
        /// In which line, counted from 1.
        line: usize,
        /// What is the matter there.
        why: String,
    },
}

impl Warning {
    /// Whether the file may be written over.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "no path memory of Headstart's; it is left as it is, and nothing is kept: \
                 name another file, or remove this one",
            ),
            Self::Newer(version) => write!(
                f,
                "a path memory of version {version}, newer than {VERSION}; it is left as it is, \
                 and nothing is kept"
            ),
            Self::Damaged { line, why } => {
                write!(f, "damaged in line {line} ({why}); starting with nothing")
            }
        }
    }
}

pub(crate) fn write(contents: &Contents) -> serde_json::Result<String> {
    let paths = contents.paths.iter().map(line_of);
    let peers = contents.peers.iter().map(|url| Line::Peer {
        url: url.to_string(),
    });
    let header = Line::HeadstartMemory { version: VERSION };
    let mut text = String::new();
    for line in std::iter::once(header).chain(paths).chain(peers) {
        push(&mut text, &line)?;
    }
    let end = Line::End {
        lines: contents.paths.len().saturating_add(contents.peers.len()),
        sum: sum(text.as_bytes()),
    };
    push(&mut text, &end)?;
    Ok(text)
}

fn push(text: &mut String, line: &Line) -> serde_json::Result<()> {
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    Ok(())
}

fn sum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// An empty file says nothing.
pub(crate) fn read(bytes: &[u8]) -> Result<Contents, Warning> {
    let mut contents = Contents::default();
    if bytes.is_empty() {
        return Ok(contents);
    }
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    match serde_json::from_slice(first) {
        Ok(Line::HeadstartMemory { version: VERSION }) => {}
        Ok(Line::HeadstartMemory { version }) => return Err(Warning::Newer(version)),
        _ if !was_ours(bytes) => return Err(Warning::Foreign),
        Ok(_) | Err(_) => {
            return Err(Warning::Damaged {
                line: 1,
                why: "it does not say what it is".to_owned(),
            });
        }
    }
    let damaged = |line, why: &dyn fmt::Display| Warning::Damaged {
        line,
        why: why.to_string(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        damaged(1 + before.filter(|byte| **byte == b'\n').count(), &error)
    })?;
    let (mut seen, mut before) = (0_usize, first.len().saturating_add(1));
    for (number, text) in (1..).zip(text.split_inclusive('\n')).skip(1) {
        let above = bytes.get(..before).unwrap_or(bytes);
        before = before.saturating_add(text.len());
        let text = text
            .strip_suffix('\n')
            .ok_or_else(|| damaged(number, &"it breaks off"))?;
        match serde_json::from_str(text).map_err(|error| damaged(number, &error))? {
            Line::HeadstartMemory { .. } => return Err(damaged(number, &"it begins again")),
            Line::Peer { url } => {
                let url = url.parse::<NodeUrl>();
                contents
                    .peers
                    .push(url.map_err(|error| damaged(number, &error))?);
            }
            Line::End { lines, .. } if lines != seen || before != bytes.len() => {
                return Err(damaged(number, &"not as many lines as it says"));
            }
            Line::End { sum: said, .. } if said != sum(above) => {
                return Err(damaged(number, &"not the sum of what is above"));
            }
            Line::End { .. } => return Ok(contents),
            line => {
                let path = path_of(line).ok_or_else(|| damaged(number, &"no such trouble"))?;
                contents.paths.push(path);
            }
        }
        seen = seen.saturating_add(1);
    }
    Err(damaged(seen.saturating_add(2), &"it breaks off"))
}

/// Whether bytes with a bad beginning are of a file of ours: some line still
/// says so, or they are zeros, as a crash of the machine leaves them.
fn was_ours(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    bytes.iter().all(|byte| *byte == 0)
        || lines.any(|line| serde_json::from_slice::<Line>(line).is_ok())
}

fn line_of(remembered: &Remembered) -> Line {
    let (local, peer) = (remembered.path.local(), remembered.path.peer());
    let noted = remembered.noted.as_millis();
    match remembered.standing {
        Standing::Open {
            trust,
            asked,
            relapse,
        } => Line::Open {
            local,
            peer,
            noted,
            trust,
            asked,
            relapse: relapse.map(|(doublings, until)| (doublings, until.as_millis())),
        },
        Standing::Suspended {
            trouble,
            doublings,
            until,
        } => Line::Suspended {
            local,
            peer,
            noted,
            trouble: trouble.name().to_owned(),
            doublings,
            until: until.as_millis(),
        },
    }
}

fn path_of(line: Line) -> Option<Remembered> {
    let remembered = |local, peer, noted, standing| Remembered {
        path: PathKey::new(local, peer),
        noted: WallTime::from_millis(noted),
        standing,
    };
    match line {
        Line::Open {
            local,
            peer,
            noted,
            trust,
            asked,
            relapse,
        } => {
            let relapse =
                relapse.map(|(doublings, until)| (doublings, WallTime::from_millis(until)));
            let standing = Standing::Open {
                trust,
                asked,
                relapse,
            };
            Some(remembered(local, peer, noted, standing))
        }
        Line::Suspended {
            local,
            peer,
            noted,
            trouble,
            doublings,
            until,
        } => {
            let standing = Standing::Suspended {
                trouble: Trouble::from_name(&trouble)?,
                doublings,
                until: WallTime::from_millis(until),
            };
            Some(remembered(local, peer, noted, standing))
        }
        Line::HeadstartMemory { .. } | Line::Peer { .. } | Line::End { .. } => None,
    }
}
