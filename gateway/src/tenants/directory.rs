//! The directory with the secrets of tenants.
//!
//! The kernel resolves a name beneath the directory (`openat2` with `RESOLVE_BENEATH`), so a
//! symbolic link cannot lead to a file outside of it. The links of a Kubernetes volume stay inside.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::Errno;

use crate::config::FileVersion;

/// The largest file of a tenant, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A directory with one file for each tenant. Each call opens it again, because an operator can
/// replace the directory itself.
///
/// Each call may wait for a disk or a network.
#[derive(Debug)]
pub(super) struct TenantDirectory {
    path: PathBuf,
    /// The flags with which a file is opened for reading.
    flags: OFlags,
}

/// The device and the number of a directory.
pub(super) type DirectoryIdentity = (u64, u64);

/// Why the file of a tenant cannot be used.
#[derive(Debug)]
pub(super) enum FileError {
    Directory(io::Error),
    Open(io::Error),
    NotAFile,
    TooLarge,
}

/// The content of a file, and the version that was read.
pub(super) struct TenantSecret {
    pub(super) version: FileVersion,
    pub(super) text: Vec<u8>,
    /// Whether each change of the file is a change in its directory.
    pub(super) is_direct: bool,
}

impl TenantDirectory {
    pub(super) fn new(path: PathBuf) -> Self {
        // `NONBLOCK`: opening a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Self { path, flags }
    }

    /// Makes a pipe hang when it is read, as a file of a network file system may.
    #[cfg(test)]
    pub(super) fn wait_for_pipes(&mut self) {
        self.flags.remove(OFlags::NONBLOCK);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns which directory the path leads to now, and the type of its file system.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the directory cannot be opened.
    pub(super) fn identity(&self) -> rustix::io::Result<(DirectoryIdentity, FsWord)> {
        let directory = self.open()?;
        let found = fstat(&directory)?;
        Ok(((found.st_dev, found.st_ino), fstatfs(&directory)?.f_type))
    }

    /// Returns the names in the directory.
    ///
    /// # Errors
    ///
    /// Returns [`FileError::Directory`] if the directory cannot be opened or read.
    pub(super) fn names(&self) -> Result<Vec<String>, FileError> {
        let names = self.list();
        names.map_err(|error| FileError::Directory(error.into()))
    }

    fn list(&self) -> rustix::io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &self.path, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(directory)? {
            // A name that is not UTF-8 is no name of a tenant.
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    /// Returns the version of the file `name`. `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// Returns [`FileError`] if the file cannot be opened.
    pub(super) fn version(&self, name: &str) -> Result<Option<FileVersion>, FileError> {
        let Some(file) = self.find(name, OFlags::PATH)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(FileError::Open)?;
        Ok(Some(FileVersion::of(&metadata)))
    }

    /// Reads the file `name`. Returns `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// Returns [`FileError`] if the file lies outside of the directory, is no regular file, is too
    /// large or cannot be read.
    pub(super) fn read(&self, name: &str) -> Result<Option<TenantSecret>, FileError> {
        let Some(file) = self.find(name, self.flags)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(FileError::Open)?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile);
        }
        let mut text = Vec::new();
        let mut limited = file.take(MAX_FILE + 1);
        limited.read_to_end(&mut text).map_err(FileError::Open)?;
        if text.len() as u64 > MAX_FILE {
            return Err(FileError::TooLarge);
        }
        let version = FileVersion::of(&metadata);
        let is_direct = metadata.nlink() == 1 && self.is_direct(name, version);
        Ok(Some(TenantSecret {
            version,
            text,
            is_direct,
        }))
    }

    /// Returns whether `name` is the file of this version itself: no link, no mount point, and in
    /// no directory below.
    fn is_direct(&self, name: &str, version: FileVersion) -> bool {
        let Ok(directory) = self.open() else {
            return false;
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat2(directory.as_fd(), name, flags, Mode::empty(), resolve);
        let found = file.ok().and_then(|file| File::from(file).metadata().ok());
        !name.contains('/') && found.is_some_and(|found| FileVersion::of(&found) == version)
    }

    /// Returns whether the creation of the missing file `name` is a change in the directory: it is no
    /// link to a missing file, and the directory below that it would be in is missing too.
    pub(super) fn is_absent(&self, name: &str) -> bool {
        let Ok(directory) = self.open() else {
            return false;
        };
        let name = name.split('/').next().unwrap_or_default();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH;
        let found = openat2(directory.as_fd(), name, flags, Mode::empty(), resolve);
        matches!(found, Err(Errno::NOENT))
    }

    /// Opens the file `name` beneath the directory.
    fn find(&self, name: &str, flags: OFlags) -> Result<Option<File>, FileError> {
        let directory = self.open();
        let directory = directory.map_err(|error| FileError::Directory(error.into()))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        match openat2(directory.as_fd(), name, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(FileError::Open(error.into())),
        }
    }

    fn open(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.path, flags, Mode::empty())
    }
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Directory(_) => "the directory of the secrets cannot be opened",
            Self::Open(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
                "the secret is a link to a file outside of its directory; expected a file inside"
            }
            Self::Open(_) => "the file with the secret cannot be read",
            Self::NotAFile => "the secret is no regular file",
            Self::TooLarge => "the file with the secret is too large; expected at most 64 KiB",
        })
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory(error) | Self::Open(error) => Some(error),
            Self::NotAFile | Self::TooLarge => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{FileType, mknodat};

    use super::*;

    fn read(directory: &TenantDirectory, name: &str) -> Option<Vec<u8>> {
        let read = directory.read(name).expect("the file is usable");
        read.map(|secret| secret.text)
    }

    #[test]
    fn a_file_is_read_beneath_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenants");
        fs::create_dir_all(path.join("..2026/sub")).unwrap();
        fs::write(path.join("acme"), "one").unwrap();
        fs::write(path.join("..2026/umbrella"), "two").unwrap();
        fs::write(folder.path().join("outside"), "three").unwrap();
        // The links of a Kubernetes volume.
        symlink("..2026", path.join("..data")).unwrap();
        symlink("..data/umbrella", path.join("umbrella")).unwrap();
        symlink("../outside", path.join("escape")).unwrap();
        symlink(folder.path().join("outside"), path.join("absolute")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        fs::write(path.join("large"), vec![b'x'; MAX_FILE as usize + 1]).unwrap();
        fs::write(path.join("largest"), vec![b'x'; MAX_FILE as usize]).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, path.join("pipe"), FileType::Fifo, mode, 0).unwrap();

        let directory = TenantDirectory::new(path.clone());
        assert_eq!(read(&directory, "acme").unwrap(), b"one");
        let is_direct = |name| directory.read(name).unwrap().unwrap().is_direct;
        assert!(is_direct("acme") && !is_direct("umbrella"));
        assert!(!is_direct("..2026/umbrella"));
        fs::hard_link(path.join("acme"), path.join("second")).unwrap();
        assert!(!is_direct("acme"));
        assert_eq!(read(&directory, "umbrella").unwrap(), b"two");
        assert_eq!(
            read(&directory, "largest").unwrap().len(),
            MAX_FILE as usize
        );
        for missing in ["ACME", "acm", "acme/key", "initech"] {
            assert_eq!(read(&directory, missing), None, "{missing}");
        }
        for name in ["escape", "absolute", "../outside", "/etc/passwd", "loop"] {
            let refused = directory.read(name).map(drop);
            assert!(matches!(refused, Err(FileError::Open(_))), "{name}");
        }
        for name in ["pipe", "..2026"] {
            let refused = directory.read(name).map(drop);
            assert!(matches!(refused, Err(FileError::NotAFile)), "{name}");
        }
        symlink("missing", path.join("dangling")).unwrap();
        assert!(directory.is_absent("missing"));
        assert!(directory.is_absent("next/acme"));
        for name in ["acme", "dangling", "..2026/missing", "dangling/acme"] {
            assert!(!directory.is_absent(name), "{name}");
        }
        let refused = directory.read("large").map(drop);
        assert!(matches!(refused, Err(FileError::TooLarge)));
        // The control: the plain path of the link leads outside.
        assert_eq!(fs::read(path.join("escape")).unwrap(), b"three");
    }

    #[test]
    fn a_version_changes_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = TenantDirectory::new(folder.path().to_owned());
        let version = || directory.version("acme").unwrap();
        fs::write(folder.path().join("acme"), "one").unwrap();
        let first = version();
        assert!(first.is_some() && version() == first);
        fs::write(folder.path().join("new"), "one").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("acme")).unwrap();
        let second = version();
        assert!(second.is_some() && second != first);
        let read = directory.read("acme").unwrap().unwrap();
        assert_eq!(read.version, second.unwrap());
        fs::remove_file(folder.path().join("acme")).unwrap();
        assert_eq!(version(), None);
    }

    #[test]
    fn a_directory_that_is_missing_is_no_unknown_tenant() {
        let directory = TenantDirectory::new("/nonexistent/tenants".into());
        let read = directory.read("acme").map(drop);
        assert!(matches!(read, Err(FileError::Directory(_))));
    }
}
