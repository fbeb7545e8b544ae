//! [`free_space`]: the free space of a file system.

use std::path::Path;

/// Returns the free space of the file system of `path`, which need not exist. `u64::MAX` if the
/// operating system does not say.
pub fn free_space(path: &Path) -> u64 {
    #[cfg(unix)]
    for folder in path.ancestors() {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        if let Ok(status) = rustix::fs::statvfs(folder) {
            return status.f_bavail.saturating_mul(status.f_frsize);
        }
    }
    let _ = path;
    u64::MAX
}
