//! The files that a configuration came from, and whether they are still the same.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hookgate_core::Problems;
use toml::{Table, Value};

use super::secrets::SecretRef;
use super::{Config, RawConfig};

/// Files, as they were when they were looked at. Looking again and again is more
/// dependable than being told: Kubernetes swaps a symbolic link two folders up, and
/// network file systems tell nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedFiles(BTreeMap<PathBuf, Option<FileVersion>>);

/// What cannot stay the same when a file is written, replaced or linked anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFiles {
    /// Looks at the same files once more.
    pub(crate) fn refresh(&self) -> Self {
        Self::look(self.0.keys().cloned().collect())
    }

    fn look(files: Vec<PathBuf>) -> Self {
        let stamped = files.into_iter().map(|file| {
            let stamp = fs::metadata(&file).ok().as_ref().map(FileVersion::of);
            (file, stamp)
        });
        Self(stamped.collect())
    }

    fn is_of(&self, files: &[PathBuf]) -> bool {
        self.0.len() == files.len() && files.iter().all(|file| self.0.contains_key(file))
    }
}

impl FileVersion {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Reads the configuration file at `path`, and says which files to watch from then
/// on, whether or not it is good. They are looked at before they are read: what
/// changes meanwhile is a change.
pub(crate) fn load_watched(path: &Path) -> (WatchedFiles, Result<Config, Problems>) {
    let mut watched = WatchedFiles::look(vec![path.to_owned()]);
    loop {
        let written = read_raw(path);
        let mut files = vec![path.to_owned()];
        if let Ok(RawConfig { table, .. }) = &written {
            table
                .values()
                .for_each(|value| secret_files(value, &mut files));
            certificate_files(table, &mut files);
        }
        files.sort();
        files.dedup();
        if watched.is_of(&files) {
            return (watched, written.and_then(RawConfig::read));
        }
        watched = WatchedFiles::look(files);
    }
}

fn read_raw(path: &Path) -> Result<RawConfig, Problems> {
    let text = fs::read_to_string(path)
        .map_err(|error| Problems::one("", format!("cannot read {}: {error}", path.display())))?;
    RawConfig::parse(&text)
}

/// Every `file:PATH`, wherever it stands, whether or not the rest is good.
fn secret_files(value: &Value, files: &mut Vec<PathBuf>) {
    match value {
        Value::String(text) => {
            if let Some(SecretRef::File(path)) = SecretRef::parse(text) {
                files.push(path.into());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secret_files(item, files)),
        Value::Table(table) => table.values().for_each(|item| secret_files(item, files)),
        _ => {}
    }
}

/// Certificates and keys of listeners and of upstreams.
fn certificate_files(table: &Table, files: &mut Vec<PathBuf>) {
    let listeners = table.get("server").and_then(|server| server.get("tls"));
    let listeners = listeners.and_then(Value::as_array);
    let upstreams = table.get("upstreams").and_then(Value::as_table);
    let upstreams = upstreams.into_iter().flat_map(|all| all.values());
    let tables = listeners
        .into_iter()
        .flatten()
        .chain(upstreams.filter_map(|upstream| upstream.get("tls")));
    for table in tables.filter_map(Value::as_table) {
        let named = table
            .iter()
            .filter(|(key, _)| matches!(key.as_str(), "cert" | "key" | "ca" | "client_ca"));
        files.extend(named.filter_map(|(_, path)| Some(path.as_str()?.into())));
    }
}
