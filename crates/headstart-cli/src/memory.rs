//! The file that `--memory` names.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use headstart_store::{Contents, Loaded, MemoryFile};
use headstart_tokio::Memory;
use headstart_tokio::core::path::PathKey;
use headstart_tokio::core::peers::Directory;

use crate::exit::Stop;
use crate::output::complain;

/// What is remembered, and the file that keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    file: MemoryFile,
    /// It may be written, and is not something else, which is left as it is.
    is_ours: bool,
    /// The paths that it had when it was last read or written.
    stored: Mutex<HashSet<PathKey>>,
    pub(crate) memory: Memory,
    pub(crate) peers: Directory,
}

impl Kept {
    /// Reads a file, and sees that it can be written; one that is damaged,
    /// something else, or somebody else's is as good as empty, after a warning.
    pub(crate) fn open(name: &Path) -> Result<Self, Stop> {
        let file = MemoryFile::new(name);
        let not_allowed = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let warn = |error: &io::Error| {
            let name = name.display();
            complain("warning", &format!("{name}: nothing is kept: {error}"));
        };
        let (contents, may_read) = match file.load() {
            Ok(loaded) => (contents_of(&file, loaded), true),
            Err(error) if not_allowed(&error) => {
                warn(&error);
                (Contents::default(), false)
            }
            Err(error) => return Err(Stop::because(name.display(), error)),
        };
        let is_ours = may_read
            && match file.update(|_| ()) {
                Ok(()) => true,
                // Of that there was a warning.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => false,
                Err(error) if not_allowed(&error) => {
                    warn(&error);
                    false
                }
                Err(error) => return Err(Stop::because(name.display(), error)),
            };
        let Contents { paths, peers, .. } = contents;
        let stored = paths.iter().map(|remembered| remembered.path).collect();
        let memory = Memory::default();
        memory.restore(paths);
        let mut directory = Directory::default();
        for url in peers {
            if directory.insert(url).is_err() {
                complain("warning", &format!("{}: too many peers", name.display()));
                break;
            }
        }
        Ok(Self {
            file,
            is_ours,
            stored: Mutex::new(stored),
            memory,
            peers: directory,
        })
    }

    /// Writes what is remembered of paths back, beside what other processes
    /// have learnt meanwhile. Paths that the file had and has no more, somebody
    /// wants forgotten: so they are. Waits for the disk.
    pub(crate) fn save(&self) {
        if !self.is_ours {
            return;
        }
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what was lost by damage, nobody wanted that.
        let is_whole = self
            .file
            .load()
            .is_ok_and(|loaded| loaded.warning.is_none());
        let keys = |contents: &Contents| -> HashSet<_> {
            contents.paths.iter().map(|known| known.path).collect()
        };
        let updated = self.file.update(|contents| {
            if is_whole {
                for path in stored.difference(&keys(contents)) {
                    self.memory.forget(*path);
                }
            }
            contents.merge(self.memory.snapshot());
            *stored = keys(contents);
        });
        if let Err(error) = updated {
            let name = self.file.name().display();
            complain(
                "warning",
                &format!("{name}: nothing is remembered: {error}"),
            );
        }
    }
}

/// What a file says, after a warning if it says nothing for a reason.
pub(crate) fn load(file: &MemoryFile) -> Result<Contents, Stop> {
    let name = file.name().display();
    let loaded = file.load().map_err(|error| Stop::because(&name, error))?;
    Ok(contents_of(file, loaded))
}

fn contents_of(file: &MemoryFile, loaded: Loaded) -> Contents {
    if let Some(warning) = loaded.warning {
        complain("warning", &format!("{}: {warning}", file.name().display()));
    }
    loaded.contents
}
