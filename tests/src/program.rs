//! Other programs that a test starts, such as proxies and apps.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The longest time that a test waits for a program.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A program that ends with the test.
#[derive(Debug)]
pub struct Program {
    process: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` in `folder`. Its output goes to `NAME.log` there. The `targets` of make
    /// install it in the folders `search`.
    ///
    /// # Panics
    ///
    /// Panics if the program does not start.
    pub fn start(
        mut command: Command,
        folder: &Path,
        name: &str,
        search: &[&str],
        targets: &str,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).expect("the file is created");
        let path = std::env::var("PATH").expect("PATH is set");
        let process = command
            .current_dir(folder)
            // Debian has nginx and HAProxy in a folder that is not in the path of every user.
            .env("PATH", format!("{path}:/usr/sbin:{}", search.join(":")))
            .env("PYTHONUNBUFFERED", "1")
            // Caddy keeps its state below these.
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the file is open"))
            .stderr(output)
            .spawn();
        let process =
            process.unwrap_or_else(|error| panic!("{command:?}: {error}; run `make {targets}`"));
        Self { process, log }
    }

    /// Waits until `is_ready`, which gets the log.
    ///
    /// # Panics
    ///
    /// Panics with the log if the program ends, or takes too long.
    pub async fn wait_until(&mut self, mut is_ready: impl AsyncFnMut(&str) -> bool) {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            if is_ready(&text).await {
                return;
            }
            let status = self.process.try_wait().expect("the process is a child");
            assert!(
                status.is_none() && start.elapsed() < WAIT_TIMEOUT,
                "{}: {status:?}\n{text}",
                self.log.display()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
