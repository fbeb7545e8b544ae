//! The system clock of a gateway, which a test sets by libfaketime. `make faketime` gets the library.

use std::path::{Path, PathBuf};

use hookgate_tests::GatewayBuilder;
use tempfile::TempDir;

/// A system clock for the gateways of one test. At first it is right.
pub(super) struct SystemClock {
    library: PathBuf,
    folder: TempDir,
}

impl SystemClock {
    pub(super) fn new() -> Self {
        let clock = Self {
            library: library().expect("libfaketime is missing: run `make faketime`"),
            folder: tempfile::tempdir().expect("the temporary folder is created"),
        };
        clock.set_ahead(0);
        clock
    }

    /// Prepares a gateway whose system clock is this one. The clock of the machine, which counts
    /// from its start, stays the real one.
    pub(super) fn apply_to(&self, builder: GatewayBuilder) -> GatewayBuilder {
        let path = |path: &Path| path.display().to_string();
        builder
            .env("LD_PRELOAD", &path(&self.library))
            .env("FAKETIME_TIMESTAMP_FILE", &path(&self.file()))
            // The library reads the file once a second.
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// Sets the clock ahead by `seconds`, or back by a negative number.
    pub(super) fn set_ahead(&self, seconds: i64) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("the file is written");
        // A rename is atomic: the library never reads half a file.
        std::fs::rename(new, self.file()).expect("the file is replaced");
    }

    /// Removes the shared memory that the library leaves behind if its process is killed.
    pub(super) fn clean_up_after(&self, process: u32) {
        for name in ["faketime_shm", "sem.faketime_sem"] {
            // The process may have ended before the library created its memory.
            let _ = std::fs::remove_file(format!("/dev/shm/{name}_{process}"));
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// Returns the library of `make faketime`, or the one of this machine.
fn library() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/faketime/root/usr/lib");
    let folders = [installed, PathBuf::from("/usr/lib")];
    let architectures = folders.iter().filter_map(|folder| folder.read_dir().ok());
    let mut libraries = architectures.flatten().filter_map(|folder| {
        let library = folder.ok()?.path().join("faketime/libfaketimeMT.so.1");
        library.canonicalize().ok()
    });
    libraries.next()
}
