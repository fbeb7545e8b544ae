//! Syncs a database file while SQLite uses it.

use std::io;
use std::path::Path;

/// Writes the cached pages of a database file to the disk.
///
/// # Errors
///
/// Returns the error of the operating system.
#[cfg(unix)]
pub(crate) fn sync_database(path: &Path) -> io::Result<()> {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;
    use std::fs::{File, metadata};
    use std::os::unix::fs::MetadataExt;
    use std::sync::{Arc, Mutex, PoisonError};

    /// The files by device and inode. They stay open until the process ends: closing a file ends
    /// all locks of the process on it, also those of SQLite.
    static FILES: Mutex<BTreeMap<(u64, u64), Arc<File>>> = Mutex::new(BTreeMap::new());

    let found = metadata(path)?;
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match files.entry((found.dev(), found.ino())) {
        Entry::Occupied(file) => Arc::clone(file.get()),
        Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(File::open(path)?))),
    };
    drop(files);
    file.sync_data()
}

/// SQLite syncs the file at the end of a checkpoint.
#[cfg(not(unix))]
pub(crate) fn sync_database(_path: &Path) -> io::Result<()> {
    Ok(())
}
