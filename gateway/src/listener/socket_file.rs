//! The file of a listening Unix socket.
//!
//! Processes may connect if they can write to the file. It has the mode 0660 and the user and the
//! group of the gateway, so a proxy in front joins that group.

use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen as start_listening, socket_with,
};

/// The mode of the file.
const MODE: u32 = 0o660;
/// Maximum number of connections that wait to be accepted. The system has its own limit besides.
const BACKLOG: i32 = 65_535;

/// The file of a Unix socket. Dropping it removes the file if this process owns it, unless another
/// process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
    owner: Owner,
}

/// Tells a file from another one at the same path.
#[derive(Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    /// A file system may give the inode of a removed file to a new one.
    created: Option<SystemTime>,
}

impl From<fs::Metadata> for FileIdentity {
    fn from(file: fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            created: file.created().ok(),
        }
    }
}

/// The process that removes the file of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    ThisProcess,
    /// The process before an upgrade, which still accepts connections.
    Predecessor,
}

impl SocketFile {
    /// Returns the file that is at `path` now.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if there is no such file.
    pub(super) fn existing(path: &Path, owner: Owner) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: fs::symlink_metadata(path)?.into(),
            owner,
        })
    }

    /// Makes this process the owner of the file.
    pub(super) fn take_over(&mut self) {
        self.owner = Owner::ThisProcess;
    }

    /// Leaves the file in place, because another process uses the socket.
    pub(super) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owner != Owner::ThisProcess {
            return;
        }
        let is_same = |file: fs::Metadata| FileIdentity::from(file) == self.identity;
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
    // Another gateway that starts now must not find the file before its socket listens: it would
    // take the socket for stale.
    let _lock = lock_folder(path);
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
    match connect_at_once(path) {
        Err(Errno::CONNREFUSED) => {
            tracing::info!(path = %path.display(), "replacing the socket of a process that has ended");
            fs::remove_file(path)
        }
        // A process that accepts no connections at the moment still listens.
        Ok(()) | Err(Errno::AGAIN) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there; stop it, or choose another path",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a socket. Returns [`Errno::AGAIN`] if as many connections as possible wait there.
fn connect_at_once(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Locks the folder of `path` against other gateways that start, until the result is dropped.
/// Without the right to read the folder, there is no lock.
fn lock_folder(path: &Path) -> Option<fs::File> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = fs::File::open(folder).ok()?;
    flock(&folder, FlockOperation::LockExclusive).ok()?;
    Some(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

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
        let file = SocketFile::existing(&path, Owner::ThisProcess).expect("a file");
        drop(first);
        let second = listen(&path).expect("the file is stale");
        // The file of another socket stays.
        drop(file);
        UnixStream::connect(&path).expect("the second socket listens");
        drop(SocketFile::existing(&path, Owner::ThisProcess).expect("a file"));
        assert!(!path.exists());
        drop(second);

        let third = listen(&path).expect("the path is free");
        let mut inherited = SocketFile::existing(&path, Owner::Predecessor).expect("a file");
        drop(SocketFile::existing(&path, Owner::Predecessor).expect("a file"));
        assert!(path.exists(), "the predecessor uses the socket");
        inherited.take_over();
        drop(inherited);
        assert!(!path.exists());
        drop(third);

        fs::write(&path, "not a socket").expect("the file is written");
        let error = listen(&path).expect_err("the file is no socket");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        assert_eq!(fs::read(&path).expect("the file stays"), b"not a socket");
    }

    #[test]
    fn a_socket_whose_process_accepts_nothing_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.sock");
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("an address");
        bind(&socket, &address).expect("the path is free");
        start_listening(&socket, 0).expect("the socket listens");
        // The first connection fills the backlog.
        while connect_at_once(&path).is_ok() {}
        let error = listen(&path).expect_err("the process listens");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    }
}
