//! The files that a configuration was read from, and detection of changes to them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hookgate_core::Problems;
use hookgate_core::internal::{Table, Value};

use super::secrets::SecretRef;
use super::secrets::TENANT;
use super::{Config, Inputs, RawConfig};

/// A set of files, each with the version that was seen.
///
/// The reload task polls these files. Polling is more dependable than file system events:
/// Kubernetes replaces a symbolic link two directories above the file, and network file systems
/// send no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedFiles(BTreeMap<PathBuf, Option<FileVersion>>);

/// The metadata of a file. Writing, replacing or relinking the file changes at least one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileVersion {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFiles {
    /// Reads the current versions of the same files.
    pub(crate) fn refresh(&self) -> Self {
        Self::read_versions(self.0.keys().cloned().collect())
    }

    /// A file without readable metadata, such as a missing file, has the version `None`.
    fn read_versions(files: Vec<PathBuf>) -> Self {
        let versions = files.into_iter().map(|file| {
            let version = fs::metadata(&file).ok().as_ref().map(FileVersion::of);
            (file, version)
        });
        Self(versions.collect())
    }

    fn has_the_files(&self, files: &[PathBuf]) -> bool {
        self.0.len() == files.len() && files.iter().all(|file| self.0.contains_key(file))
    }
}

impl FileVersion {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Returns whether the file changed so short a time before `now` that another change could
    /// have the same times. `now` is in seconds since 1970.
    pub(crate) fn is_recent(&self, now: i64) -> bool {
        const GRANULARITY: i64 = 2;
        self.changed.0.saturating_add(GRANULARITY) > now
    }
}

/// Reads the configuration file at `path`, and returns it with the files to watch.
///
/// The files are returned even if the configuration is invalid. Their versions are taken before
/// they are read, so that a change during the reading is noticed later.
pub(crate) fn load_watched(path: &Path) -> (WatchedFiles, Result<Config, Problems>) {
    let mut watched = WatchedFiles::read_versions(vec![path.to_owned()]);
    loop {
        let (mut files, raw) = read_raw(path);
        files.push(path.to_owned());
        if let Ok(RawConfig { table, .. }) = &raw {
            table
                .values()
                .for_each(|value| secret_files(value, &mut files));
            certificate_files(table, &mut files);
        }
        files.sort();
        files.dedup();
        if watched.has_the_files(&files) {
            let config = raw
                .and_then(|raw| raw.read(Inputs::Read))
                .map(|mut config| {
                    config.shown.file = Some(path.to_owned());
                    config
                });
            return (watched, config);
        }
        watched = WatchedFiles::read_versions(files);
    }
}

/// Reads the file and the files that it includes. Returns the included files to watch.
fn read_raw(path: &Path) -> (Vec<PathBuf>, Result<RawConfig, Problems>) {
    match fs::read_to_string(path) {
        Ok(text) => RawConfig::parse(&text, path),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            (Vec::new(), Err(Problems::one("", message)))
        }
    }
}

/// Adds the path of every `file:PATH` value, at any depth, to `files`. The gateway itself writes
/// the file of the access log, so that file is left out.
fn secret_files(value: &Value, files: &mut Vec<PathBuf>) {
    match value {
        Value::String(text) => {
            // The files of tenants are checked when they are used.
            if let Some(SecretRef::File(path)) = SecretRef::parse(text)
                && !path.contains(TENANT)
            {
                files.push(path.into());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secret_files(item, files)),
        Value::Table(table) => {
            let read = table.iter().filter(|(key, _)| *key != "access_log");
            read.for_each(|(_, item)| secret_files(item, files));
        }
        _ => {}
    }
}

/// Adds the certificate and key files of listeners, upstreams and fetched keys to `files`.
fn certificate_files(table: &Table, files: &mut Vec<PathBuf>) {
    let listeners = table.get("server").and_then(|server| server.get("tls"));
    let listeners = listeners.and_then(Value::as_array);
    let upstreams = table.get("upstreams").and_then(Value::as_table);
    let upstreams = upstreams.into_iter().flat_map(|all| all.values());
    let sources = table.get("sources").and_then(Value::as_array);
    let sources = sources.into_iter().flatten();
    let keys = sources.filter_map(|source| source.get("keys"));
    let tables = listeners
        .into_iter()
        .flatten()
        .chain(keys)
        .chain(upstreams.filter_map(|upstream| upstream.get("tls")));
    for table in tables.filter_map(Value::as_table) {
        let paths = table
            .iter()
            .filter(|(key, _)| matches!(key.as_str(), "cert" | "key" | "ca" | "client_ca"));
        files.extend(paths.filter_map(|(_, path)| Some(path.as_str()?.into())));
    }
}

#[cfg(test)]
mod tests {
    use hookgate_core::internal::parse;

    use super::*;

    /// The gateway would reload after each of its own lines.
    #[test]
    fn secret_files_are_watched_and_the_access_log_is_not() {
        let table = parse(
            "[server]\naccess_log = \"file:/access.log\"\n[[sources]]\nsecrets = [\"file:/secret\"]",
        )
        .unwrap();
        let mut files = Vec::new();
        secret_files(&Value::Table(table), &mut files);
        assert_eq!(files, [PathBuf::from("/secret")]);
    }
}
