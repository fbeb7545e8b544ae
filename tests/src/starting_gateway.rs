//! A gateway process between its start and the log lines with its addresses.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::{CONFIG_FILE, Gateway};

/// A started process that has not yet logged its addresses.
pub(crate) struct StartingGateway {
    process: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: Arc<Mutex<String>>,
    folder: TempDir,
    envs: Vec<(String, String)>,
}

impl StartingGateway {
    /// Starts a gateway with this configuration. `prefix` is a shell command, `option` an argument.
    pub(crate) fn new(
        config: &str,
        envs: Vec<(String, String)>,
        prefix: &str,
        option: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let file = folder.path().join(CONFIG_FILE);
        std::fs::write(&file, config).expect("the file is written");
        let run = format!("{prefix} exec \"$0\" run --config \"$1\" --log json {option}");
        let mut process = Command::new("bash")
            .args(["-c", &run])
            .arg(binary())
            .arg(file)
            .env("HOOKGATE_LOG", "debug,pingora_core=warn,pingora_pool=warn")
            .envs(envs.clone())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let lines = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        Self {
            process,
            lines,
            log: Arc::default(),
            folder,
            envs,
        }
    }

    /// Reads the next line of the log. Returns the log so far if the process has ended.
    pub(crate) fn next_log_line(&mut self) -> Result<Value, String> {
        let mut log = self.log.lock().expect("the log thread does not panic");
        let Some(line) = self.lines.next().and_then(Result::ok) else {
            // A later process may use the same files.
            let _ = self.process.wait();
            return Err(log.clone());
        };
        log.push_str(&line);
        log.push('\n');
        Ok(serde_json::from_str(&line).unwrap_or_default())
    }

    /// Waits until the process fails. Returns its log.
    pub(crate) fn wait_for_failure(mut self) -> String {
        let mut log = self
            .log
            .lock()
            .expect("the log thread does not panic")
            .clone();
        for line in self.lines.map_while(Result::ok) {
            log.push_str(&line);
            log.push('\n');
        }
        let status = self.process.wait().expect("the process is a child");
        assert!(!status.success(), "{log}");
        log
    }

    /// Waits until the process has logged its addresses.
    pub(crate) fn wait_until_listening(self) -> Gateway {
        self.try_wait_until_listening()
            .unwrap_or_else(|log| panic!("the gateway ended:\n{log}"))
    }

    /// Does the same, and returns the log of a process that ends before.
    pub(crate) fn try_wait_until_listening(mut self) -> Result<Gateway, String> {
        // The gateway logs its TLS listeners before the admin listener, so that the loop sees both.
        let mut deliveries_tls = None;
        let mut addresses = [None, None];
        while addresses.contains(&None) {
            let event = self.next_log_line()?;
            let fields = &event["fields"];
            let address = || {
                fields["address"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
            };
            match fields["role"].as_str() {
                Some("deliveries") => addresses[0] = address(),
                Some("deliveries_tls") => deliveries_tls = address(),
                Some("admin") => addresses[1] = address(),
                _ => {}
            }
        }
        let [Some(deliveries), Some(admin)] = addresses else {
            unreachable!("the loop found both addresses")
        };
        let Self {
            process,
            lines,
            log,
            folder,
            envs,
        } = self;
        let shared_log = Arc::clone(&log);
        let reads_log = Arc::new(AtomicBool::new(true));
        let continues = Arc::clone(&reads_log);
        let log_reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if !continues.load(Ordering::SeqCst) {
                    // This drops the pipe: the gateway fails to write to it from here on.
                    return;
                }
                let mut log = shared_log.lock().expect("the log thread does not panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Ok(Gateway {
            process,
            deliveries,
            deliveries_tls,
            admin,
            log,
            reads_log,
            log_reader,
            folder,
            envs,
        })
    }
}

/// Returns the path of the gateway binary under test, whose clock a test can set.
pub fn binary() -> PathBuf {
    // Test binaries are in target/PROFILE/deps, binaries of this package in target/PROFILE.
    let test = std::env::current_exe().expect("the test runs from a file");
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("the test is in target/PROFILE/deps");
    folder.join("hookgate-under-test")
}
