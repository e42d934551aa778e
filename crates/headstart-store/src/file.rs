//! The file itself: read whole, written anew.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::format::{self, Warning};

/// Longest file that is read, in bytes: 16 MiB, more than the paths and peers
/// that are kept take.
pub const FILE_MAX: u64 = 16 * 1024 * 1024;

/// A file in which a memory is kept. Nothing is opened until it is used.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    name: PathBuf,
}

/// What was in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All of it, or nothing.
    pub contents: Contents,
    /// Why nothing, if that is not because there is no file yet.
    pub warning: Option<Warning>,
}

impl MemoryFile {
    /// The file of this name, which need not exist.
    pub fn new(name: impl Into<PathBuf>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Reads it. A file that is not there is empty.
    ///
    /// # Errors
    /// The system's. What is in the file is never an error, but a
    /// [`Warning`].
    pub fn load(&self) -> io::Result<Loaded> {
        let file = match File::open(&self.name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(FILE_MAX.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(match format::read(&bytes) {
            Ok(contents) => Loaded {
                contents,
                warning: None,
            },
            Err(warning) => Loaded {
                contents: Contents::default(),
                warning: Some(warning),
            },
        })
    }

    /// Reads it, lets the caller change what it says, and writes that, while
    /// other processes that want to do the same wait.
    ///
    /// Writes to the disk and waits for it: not for an async task.
    ///
    /// # Errors
    /// The system's; [`InvalidData`](io::ErrorKind::InvalidData) with a
    /// [`Warning`] inside, and nothing is written, if the file is something
    /// else or of a newer version. In any case the file is as it was or as it
    /// was to be.
    pub fn update(&self, change: impl FnOnce(&mut Contents)) -> io::Result<()> {
        // A link stays one.
        let name = match fs::canonicalize(&self.name) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.name.clone(),
            Err(error) => return Err(error),
        };
        let _lock = lock(&beside(&name, ".lock"), &name)?;
        let loaded = self.load()?;
        if let Some(warning) = loaded.warning.filter(|warning| !warning.is_ours()) {
            let text = format!("{}: {warning}", self.name.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut contents = loaded.contents;
        change(&mut contents);
        let text = format::write(&contents)?;
        let new = beside(&name, &format!(".{}.new", std::process::id()));
        let written = replace(&name, &new, text.as_bytes());
        if written.is_err() {
            // Best effort: the error that matters is told.
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// A name in the same folder.
fn beside(name: &Path, ending: &str) -> PathBuf {
    let mut other = OsString::from(name);
    other.push(ending);
    other.into()
}

fn replace(name: &Path, new: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = match for_owner_only().create_new(true).open(new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a process of the same number that was killed, or a link that somebody laid.
            fs::remove_file(new)?;
            for_owner_only().create_new(true).open(new)?
        }
        other => other?,
    };
    give(&file, name);
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(new, name)?;
    sync_folder(name)
}

fn for_owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Gives a new file to whom the one of this name belongs, with its mode, or, if there is none, to whom
/// the folder belongs: root, who looks into the file of a service, must not lock it out. Where that
/// is not allowed the file stays its maker's.
#[cfg(unix)]
fn give(file: &File, name: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let (like, mode) = match fs::metadata(name) {
        Ok(old) => {
            let mode = old.permissions().mode() & 0o777;
            (Ok(old), mode)
        }
        Err(_) => (fs::metadata(folder(name)), 0o600),
    };
    let Ok(like) = like else { return };
    if fchown(file, Some(like.uid()), Some(like.gid())).is_ok() {
        // Best effort, as above.
        let _ = file.set_permissions(fs::Permissions::from_mode(mode));
    }
}

#[cfg(not(unix))]
fn give(_file: &File, _name: &Path) {}

#[cfg(unix)]
fn folder(name: &Path) -> &Path {
    let folder = name.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// The new name is on the disk once its folder is.
#[cfg(unix)]
fn sync_folder(name: &Path) -> io::Result<()> {
    File::open(folder(name))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_name: &Path) -> io::Result<()> {
    Ok(())
}

/// Waits for the lock of a file; it ends with the file that is returned, or the process.
#[cfg(unix)]
fn lock(name: &Path, of: &Path) -> io::Result<File> {
    let file = match for_owner_only().create_new(true).open(name) {
        Ok(file) => {
            give(&file, of);
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            for_owner_only().open(name)?
        }
        Err(error) => return Err(error),
    };
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// No lock.
#[cfg(not(unix))]
struct Unlocked;

#[cfg(not(unix))]
fn lock(_name: &Path, _of: &Path) -> io::Result<Unlocked> {
    Ok(Unlocked)
}
