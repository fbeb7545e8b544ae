//! The folder of one capture on disk.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use hookgate_core::UnixTime;
use hookgate_diagnose::{Capture, Record};
use serde_json::Value;
use time::OffsetDateTime;

/// The length of the time in the name of a folder.
const TIME_LEN: usize = "20261130T074501.123Z".len();
/// The files of a capture.
const FILES: [&str; 3] = ["head", "body", "meta.json"];
/// Maximum size of `meta.json` that is read.
const MAX_META: u64 = 64 * 1024;
/// The size of a folder and its files on disk without their bytes.
const OVERHEAD: u64 = 4 * 4096;

/// Returns the name of the folder for a request that arrived at `arrived`.
pub(super) fn name(arrived: UnixTime, request_id: &str) -> String {
    let nanos = i128::from(arrived.millis()) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, milli) = time.to_hms_milli();
    let id = request_id.chars().filter(char::is_ascii_alphanumeric);
    format!(
        "{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z-{}",
        u8::from(month),
        id.collect::<String>()
    )
}

/// Returns the time in the name of a folder, or `None` if another program chose the name.
pub(super) fn time_of_name(name: &str) -> Option<UnixTime> {
    let (time, id) = name.split_at_checked(TIME_LEN)?;
    let id = id.strip_prefix('-')?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let part = |range: std::ops::Range<usize>| time.get(range).filter(|_| is_id);
    let date = [part(0..4)?, part(4..6)?, part(6..8)?].join("-");
    let clock = [part(9..11)?, part(11..13)?, part(13..TIME_LEN)?].join(":");
    hookgate_diagnose::parse_time(&format!("{date}{}{clock}", part(8..9)?))
}

/// Writes a capture to the new folder `path`. A folder that cannot be written whole is removed.
///
/// # Errors
///
/// Returns the error of the file system.
pub(super) fn write(path: &Path, capture: &Capture, record: &Record) -> io::Result<u64> {
    // Fails if the name exists, also as a link.
    DirBuilder::new().mode(0o700).create(path)?;
    let written = capture.write_to(path, record).and_then(|()| size(path));
    if written.is_err() {
        // The first error says more than an error of the removal.
        let _: io::Result<()> = remove(path);
    }
    written
}

/// Removes the folder of a capture. Files of other programs in the folder stay, and then the
/// folder stays as well. A folder that does not exist is no error.
///
/// # Errors
///
/// Returns the error of the file system.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
        // A link is not followed.
        Ok(found) if !found.is_dir() => return Ok(()),
        Ok(_) => {}
    }
    for name in FILES {
        match fs::remove_file(path.join(name)) {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// Returns how many bytes the folder takes on disk.
pub(super) fn size(path: &Path) -> io::Result<u64> {
    let mut size = OVERHEAD;
    for name in FILES {
        match fs::symlink_metadata(path.join(name)) {
            Ok(file) => size += file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

/// Reads the source and the reason of a capture. Returns `None` for an incomplete folder.
pub(super) fn source_and_reason(path: &Path) -> Option<(String, Option<String>)> {
    let path = path.join("meta.json");
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_META).read_to_string(&mut text).ok()?;
    let meta: Value = serde_json::from_str(&text).ok()?;
    let member = |name: &str| meta.get(name)?.as_str().map(str::to_owned);
    Some((member("source")?, member("reason")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_has_the_time_and_the_id_alone() {
        let arrived = UnixTime::from_millis(1_795_248_000_123);
        let name = name(arrived, "9f2c../a");
        assert_eq!(name, "20261121T080000.123Z-9f2ca");
        assert_eq!(time_of_name(&name), Some(arrived));
        for other in [
            "",
            "20261121T080000.123Z",
            "20261121T080000.123Z-",
            "20261121T080000.123Z-a/b",
            "20261321T080000.123Z-a",
            "backup-of-captures-2026-a",
        ] {
            assert_eq!(time_of_name(other), None, "{other}");
        }
    }
}
