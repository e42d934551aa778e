//! A file that keeps what Headstart remembers: on which paths Fast Open fails,
//! and which peers can be raced.
//!
//! ```
//! use headstart_core::path::{PathMemory, WallTime};
//! use headstart_core::Instant;
//! use headstart_store::MemoryFile;
//!
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let name = folder.path().join("memory");
//! let file = MemoryFile::new(name);
//! let stored = file.load()?;
//! if let Some(warning) = &stored.warning {
//!     eprintln!("{warning}"); // and start with nothing
//! }
//! let mut memory = PathMemory::default();
//! let (now, wall) = (Instant::from_nanos(1), WallTime::from_millis(1_700_000_000_000));
//! for path in stored.contents.paths {
//!     memory.restore(now, wall, path);
//! }
//! // Some races later, and at the end:
//! file.update(|contents| contents.merge(memory.snapshot(now, wall)))?;
//! # Ok(())
//! # }
//! ```
//!
//! # The file
//!
//! Lines of JSON, to be read by people as well: what it is and the version of
//! the format, a line for each path and each peer, and at the end how many there
//! were and a checksum (XXH3, of everything above). Times are milliseconds since 1970. It is written anew each time: under
//! another name beside it, flushed to the disk, then given its name. So at any
//! time, also after a crash, it is whole: what was written, or what was there
//! before. On Unix only its owner may read it, unless its mode was changed, for it says who was dialled.
//! It stays its owner's whoever writes it anew; a new one is its folder's owner's, if the system lets
//! it be given away, as root may.
//!
//! A file that is damaged all the same, by as much as a bit, is taken for empty,
//! with a warning, and written anew. One that is something else, or of a newer version, is taken for
//! empty too, but never written over.
//!
//! Several processes may share a file: [`MemoryFile::update`] reads it, lets the
//! caller change what it says and writes it back under a lock (a file beside it,
//! with `.lock` behind its name), so that nobody's news is lost. Where there is
//! no such lock (Windows), the last to write wins.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod contents;
mod file;
mod format;

pub use contents::{Contents, PATHS_KEPT};
pub use file::{FILE_MAX, Loaded, MemoryFile};
pub use format::{VERSION, Warning};
