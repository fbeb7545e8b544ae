//! [`allocate`]: creates a file that holds blocks of its file system.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

use crate::private_files::create_private_file;

/// Creates a file of `size` bytes that holds blocks. Leaves no file if that fails.
pub(crate) fn allocate(path: &Path, size: u64) -> io::Result<()> {
    let allocate = || {
        match create_private_file(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(size)?;
        fill(&file, size)
    };
    allocate().inspect_err(|_| {
        let _: io::Result<()> = fs::remove_file(path);
    })
}

/// Returns the bytes of a file that have blocks.
#[cfg(unix)]
pub(crate) fn allocated(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512)
}

#[cfg(not(unix))]
pub(crate) fn allocated(file: &fs::Metadata) -> u64 {
    file.len()
}

/// Allocates the blocks of a file.
///
/// ZFS accepts the call that allocates blocks, and allocates none. Only written bytes hold space
/// there, and only bytes that cannot be compressed.
fn fill(file: &fs::File, size: u64) -> io::Result<()> {
    fill_after(file, size, preallocate)
}

/// Allocates the blocks of a file with `preallocate`. If the file has too few blocks afterwards,
/// writes its bytes.
fn fill_after(
    file: &fs::File,
    size: u64,
    preallocate: impl FnOnce(&fs::File, u64) -> io::Result<()>,
) -> io::Result<()> {
    match preallocate(file, size) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        preallocated => preallocated?,
    }
    match allocated(&file.metadata()?) >= size {
        true => Ok(()),
        false => write_incompressible(file, size),
    }
}

#[cfg(target_os = "linux")]
fn preallocate(file: &fs::File, size: u64) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(file, flags, 0, size)?)
}

#[cfg(not(target_os = "linux"))]
fn preallocate(_: &fs::File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes bytes that a file system cannot compress, and that no other file has. A compressed or
/// deduplicated file would hold no blocks.
fn write_incompressible(mut file: &fs::File, size: u64) -> io::Result<()> {
    use io::Write;
    let mut state = RandomState::new().build_hasher().finish() | 1;
    let mut left = size;
    let mut chunk = [0; 64 << 10];
    while left > 0 {
        for bytes in chunk.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        let length = left.min(chunk.len() as u64);
        file.write_all(&chunk[..usize::try_from(length).unwrap_or(chunk.len())])?;
        left -= length;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_allocates_nothing_gets_bytes_that_cannot_be_compressed() {
        type Preallocate = fn(&fs::File, u64) -> io::Result<()>;
        let cases: [(&str, Preallocate); 2] = [
            ("accepts the call, like ZFS", |file, size| {
                file.set_len(size)
            }),
            ("has no such call", |_, _| {
                Err(io::ErrorKind::Unsupported.into())
            }),
        ];
        let folder = tempfile::tempdir().unwrap();
        let mut contents = Vec::new();
        for (name, preallocate) in cases {
            let path = folder.path().join(name);
            let file = fs::File::create(&path).unwrap();
            fill_after(&file, 100_000, preallocate).unwrap();
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.len(), 100_000, "{name}");
            assert!(allocated(&metadata) >= 100_000, "{name}: {metadata:?}");
            contents.push(fs::read(&path).unwrap());
        }
        assert!(
            contents[0] != contents[1],
            "the files could share their blocks"
        );
        for bytes in contents {
            let zeros = bytes.iter().filter(|byte| **byte == 0).count();
            assert!(zeros < 1_000, "{zeros} of the bytes are zero");
        }
        // The control: the call alone holds no blocks.
        let file = fs::File::create(folder.path().join("hole")).unwrap();
        file.set_len(100_000).unwrap();
        assert!(allocated(&file.metadata().unwrap()) < 100_000);
    }

    #[test]
    fn a_failed_allocation_is_no_missing_call() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("reserve")).unwrap();
        let full = |_: &fs::File, _| Err(io::ErrorKind::StorageFull.into());
        let error = fill_after(&file, 100_000, full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
