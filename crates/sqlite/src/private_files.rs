//! Files that only their owner may read.

use std::fs;
use std::io;
use std::path::Path;

/// Creates the folder. Only its owner may read it, because its files show which events were
/// delivered.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Creates the file so that only its owner may read it, also in a folder that others can read.
/// SQLite gives its other files the same mode.
///
/// Fails if the file exists, and does not open it then: closing it would end the locks that SQLite
/// has on it in this process.
///
/// # Errors
///
/// Returns the error of the operating system.
pub fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Takes the rights of other users on an existing file away. A copy that was restored may have
/// them.
#[cfg(unix)]
pub(crate) fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for path in [
        path.to_owned(),
        path.with_extension("db-wal"),
        path.with_extension("db-shm"),
    ] {
        let Ok(file) = fs::metadata(&path) else {
            continue;
        };
        let mode = file.permissions().mode();
        if mode & 0o077 == 0 {
            continue;
        }
        let private = fs::Permissions::from_mode(mode & !0o077);
        match fs::set_permissions(&path, private) {
            Ok(()) => {
                tracing::warn!(file = %path.display(), "other users could access the file; now they cannot")
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "other users can access the file")
            }
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn make_private(_: &Path) {}
