//! The file of a listening Unix socket.
//!
//! Processes may connect if they can write to the file. It has the mode 0660 and the user and the
//! group of the gateway, so a proxy in front joins that group.

use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen as start_listening,
    socket_with,
};

/// The mode of the file.
const MODE: u32 = 0o660;
/// Maximum number of connections that wait to be accepted. The system has its own limit besides.
const BACKLOG: i32 = 65_535;

/// The file of a Unix socket that this process opened. Dropping it removes the file, unless another
/// process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Returns the file that is at `path` now.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if there is no such file.
    pub(super) fn existing(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
        })
    }

    /// Leaves the file in place, because another process uses the socket.
    pub(super) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_same = |file: fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(is_same)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot remove the file of a Unix socket");
        }
    }
}

/// Listens on a new Unix socket at `path`.
///
/// # Errors
///
/// Returns an error if a process already listens there, if the file is no socket, or if the system
/// refuses the socket.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux creates the file with the mode of the socket, without the bits of the umask. The file
    // thus never has more permissions than it has in the end.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    start_listening(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Removes the file of a socket on which no process listens any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the file exists and is no socket; remove it, or choose another path",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the socket of a process that has ended");
            fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there; stop it, or choose another path",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_socket_of_a_process_that_has_ended_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.sock");
        let first = listen(&path).expect("the path is free");
        let mode = fs::metadata(&path).expect("a file").mode();
        assert_eq!(mode & 0o777, MODE);
        let error = listen(&path).expect_err("the first socket listens");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        let file = SocketFile::existing(&path).expect("a file");
        drop(first);
        let second = listen(&path).expect("the file is stale");
        // The file of another socket stays.
        drop(file);
        UnixStream::connect(&path).expect("the second socket listens");
        drop(SocketFile::existing(&path).expect("a file"));
        assert!(!path.exists());
        drop(second);

        fs::write(&path, "not a socket").expect("the file is written");
        let error = listen(&path).expect_err("the file is no socket");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        assert_eq!(fs::read(&path).expect("the file stays"), b"not a socket");
    }
}
