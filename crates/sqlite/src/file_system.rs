//! Refuses network file systems.

use std::path::Path;

use crate::error::OpenErrorKind;

/// Refuses a folder on a network file system.
///
/// Several machines could open the file there, but the locks and the shared memory of SQLite
/// work within one machine only. Its writes would damage the file.
///
/// # Errors
///
/// Returns [`OpenErrorKind::NetworkFileSystem`] with the name of the file system.
pub(crate) fn refuse_network_file_system(folder: &Path) -> Result<(), OpenErrorKind> {
    // A file system that cannot be asked is left to the other checks.
    match file_system_type(folder).and_then(network_file_system) {
        Some(name) => Err(OpenErrorKind::NetworkFileSystem(name)),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn file_system_type(folder: &Path) -> Option<u32> {
    let status = rustix::fs::statfs(folder).ok()?;
    // The kernel's field is 64 bits wide on some machines; the numbers have 32 bits.
    Some((i128::from(status.f_type) & 0xffff_ffff) as u32)
}

#[cfg(not(target_os = "linux"))]
fn file_system_type(_folder: &Path) -> Option<u32> {
    None
}

/// Returns the name of a network file system by its number in `linux/magic.h`.
fn network_file_system(number: u32) -> Option<&'static str> {
    Some(match number {
        0x0000_6969 => "NFS",
        0x0000_517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9P",
        0x6573_5546 => "FUSE",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x4750_4653 => "GPFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        // ext4, XFS, Btrfs, tmpfs, overlayfs, ZFS, F2FS
        for local in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x794c_7630,
            0x2fc1_2fc1,
            0xf2f5_2010,
        ] {
            assert_eq!(network_file_system(local), None, "{local:x}");
        }
        for (number, name) in [(0x6969, "NFS"), (0xfe53_4d42, "SMB"), (0x6573_5546, "FUSE")] {
            assert_eq!(network_file_system(number), Some(name));
        }
    }

    #[test]
    fn the_folder_of_this_test_is_local() {
        let folder = tempfile::tempdir().unwrap();
        assert!(file_system_type(folder.path()).is_some());
        assert!(refuse_network_file_system(folder.path()).is_ok());
    }
}
