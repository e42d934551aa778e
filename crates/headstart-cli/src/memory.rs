//! The file that `--memory` names.

use std::io;
use std::path::Path;

use headstart_store::{Contents, Loaded, MemoryFile};
use headstart_tokio::Memory;
use headstart_tokio::core::peers::Directory;

use crate::exit::Stop;
use crate::output::complain;

/// What is remembered, and the file that keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    file: MemoryFile,
    /// It may be written, and is not something else, which is left as it is.
    is_ours: bool,
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
            memory,
            peers: directory,
        })
    }

    /// Writes what is remembered of paths back, beside what other processes
    /// have learnt meanwhile. Waits for the disk.
    pub(crate) fn save(&self) {
        if !self.is_ours {
            return;
        }
        let news = self.memory.snapshot();
        if let Err(error) = self.file.update(|contents| contents.merge(news)) {
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
