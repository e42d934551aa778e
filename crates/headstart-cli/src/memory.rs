//! The file that `--memory` names.

use std::path::Path;

use headstart_store::{Contents, MemoryFile};
use headstart_tokio::Memory;
use headstart_tokio::core::peers::Directory;

use crate::exit::Stop;
use crate::output::complain;

/// What is remembered, and the file that keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    file: MemoryFile,
    pub(crate) memory: Memory,
    pub(crate) peers: Directory,
}

impl Kept {
    /// Reads a file; one that is damaged or something else is as good as
    /// empty, after a warning.
    pub(crate) fn open(name: &Path) -> Result<Self, Stop> {
        let file = MemoryFile::new(name);
        let Contents { paths, peers, .. } = load(&file)?;
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
            memory,
            peers: directory,
        })
    }

    /// Writes what is remembered of paths back, beside what other processes
    /// have learnt meanwhile. Waits for the disk.
    pub(crate) fn save(&self) {
        let news = self.memory.snapshot();
        if let Err(error) = self.file.update(|contents| contents.merge(news)) {
            complain("warning", &format!("nothing is remembered: {error}"));
        }
    }
}

/// What a file says, after a warning if it says nothing for a reason.
pub(crate) fn load(file: &MemoryFile) -> Result<Contents, Stop> {
    let name = file.name().display();
    let loaded = file.load().map_err(|error| Stop::because(&name, error))?;
    if let Some(warning) = loaded.warning {
        complain("warning", &format!("{name}: {warning}"));
    }
    Ok(loaded.contents)
}
