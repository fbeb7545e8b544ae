//! The access log in a file, which a tool such as logrotate renames.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::batch::Output;

/// The mode of a file that the gateway creates: its group may read it.
const MODE: u32 = 0o640;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file at `path`, and creates it with the mode 0640 if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns the error of the system. A named pipe is an error, because opening it would wait
    /// for a reader.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        return Err(io::Error::other("it is a named pipe"));
    }
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // The umask of a service often takes the group's permission away.
            file.set_permissions(Permissions::from_mode(MODE))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).open(path)
        }
        Err(error) => Err(error),
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for LogFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Cuts the file. Another process may have appended lines since, during an upgrade. The
    /// file then stays as it is.
    fn remove_end(&mut self, len: u64) -> io::Result<()> {
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() != end {
            return Err(io::Error::other("another process has written to the file"));
        }
        self.file.set_len(end.saturating_sub(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_line_is_removed_unless_another_process_has_appended_to_it() {
        for (appended, expected) in [("", "one\n"), ("other\n", "one\ntwother\n")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("access.log");
            let mut file = LogFile::open(&path).unwrap();
            let mut other = LogFile::open(&path).unwrap();
            file.write_all(b"one\ntw").unwrap();
            other.write_all(appended.as_bytes()).unwrap();
            assert_eq!(file.remove_end(2).is_ok(), appended.is_empty());
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            // The next line is at the new end.
            file.write_all(b"three\n").unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{expected}three\n"));
        }
    }
}
