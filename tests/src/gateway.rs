use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::delivery::{Provided, SECRETS};

/// A real gateway process on free ports. It ends with this value, as by `kill -9`.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    deliveries: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
    reading: Arc<AtomicBool>,
}

/// What a gateway is started with.
#[derive(Debug)]
pub struct GatewayBuilder {
    top: String,
    upstream: String,
    source: String,
    sources: String,
    envs: Vec<(String, String)>,
    before: String,
}

impl Gateway {
    /// A gateway with a source for each of [`SECRETS`], in front of `upstream`.
    /// The boot fence is down: the suites start many gateways and do not wait.
    pub fn builder(upstream: SocketAddr) -> GatewayBuilder {
        GatewayBuilder {
            top: "[replay]\nboot_fence = false\n".to_owned(),
            upstream: format!("[upstreams.app]\nservers = [\"{upstream}\"]\n"),
            source: String::new(),
            sources: String::new(),
            envs: Vec::new(),
            before: String::new(),
        }
    }

    /// Where it takes deliveries.
    pub fn address(&self) -> SocketAddr {
        self.deliveries
    }

    /// Where it answers operators.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Closes the log once its next line has come.
    pub fn stop_reading_the_log(&mut self) {
        self.reading.store(false, Ordering::SeqCst);
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }
}

impl GatewayBuilder {
    /// Adds lines to every source.
    pub fn every_source(mut self, lines: &str) -> Self {
        self.source.push_str(lines);
        self.source.push('\n');
        self
    }

    /// Runs this in the shell from which the gateway is started, such as a `ulimit`.
    pub fn before(mut self, command: &str) -> Self {
        self.before.push_str(command);
        self.before.push(';');
        self
    }

    /// Adds lines to the table `replay`.
    pub fn replay(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self.top.push('\n');
        self
    }

    /// Adds lines to the upstream.
    pub fn upstream(mut self, lines: &str) -> Self {
        self.upstream.push_str(lines);
        self.upstream.push('\n');
        self
    }

    /// Adds a table.
    pub fn table(mut self, lines: &str) -> Self {
        self.sources.push_str(lines);
        self.sources.push('\n');
        self
    }

    /// Sets an environment variable of the process.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, with a source for each of [`SECRETS`].
    pub fn start(mut self) -> Gateway {
        for (index, (name, secret)) in SECRETS.iter().enumerate() {
            let path = Provided::named(name).path();
            self.sources.push_str(&format!(
                "[[sources]]\nname = \"{name}\"\npath = \"{path}\"\nprovider = \"{name}\"\n\
                 secrets = [\"env:SECRET_{index}\"]\nupstream = \"app\"\n{}",
                self.source
            ));
            self.envs
                .push((format!("SECRET_{index}"), (*secret).to_owned()));
        }
        self.start_bare()
    }

    /// Starts it with the sources that were added, and no others.
    pub fn start_bare(self) -> Gateway {
        let config = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{}{}{}",
            self.top, self.upstream, self.sources
        );
        let run = format!("{} exec \"$0\" run --config - --log json", self.before);
        let mut process = Command::new("bash")
            .args(["-c", &run])
            .arg(binary())
            .env("HOOKGATE_LOG", "debug,pingora_core=warn,pingora_pool=warn")
            .envs(self.envs)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut stdin = process.stdin.take().expect("piped");
        stdin
            .write_all(config.as_bytes())
            .expect("it reads its configuration");
        drop(stdin);
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let mut addresses = [None, None];
        while addresses.contains(&None) {
            let line = lines.next().and_then(Result::ok).unwrap_or_else(|| {
                panic!(
                    "the gateway ended:\n{}",
                    log.lock().expect("no reader panics")
                )
            });
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let fields = &event["fields"];
            let address = || {
                fields["address"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
            };
            match fields["role"].as_str() {
                Some("deliveries") => addresses[0] = address(),
                Some("admin") => addresses[1] = address(),
                _ => {}
            }
            let mut log = log.lock().expect("no reader panics");
            log.push_str(&line);
            log.push('\n');
        }
        let [Some(deliveries), Some(admin)] = addresses else {
            unreachable!("both are there")
        };
        let rest = Arc::clone(&log);
        let reading = Arc::new(AtomicBool::new(true));
        let go_on = Arc::clone(&reading);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if !go_on.load(Ordering::SeqCst) {
                    // Drops the pipe: writing to it fails from here on.
                    return;
                }
                let mut log = rest.lock().expect("no reader panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Gateway {
            process,
            deliveries,
            admin,
            log,
            reading,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The gateway's binary, with a clock that a test may set.
pub fn binary() -> std::path::PathBuf {
    // Test binaries are in `deps`, beside which the package's own binaries are.
    let test = std::env::current_exe().expect("the test runs from a file");
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/PROFILE/deps");
    folder.join("hookgate-under-test")
}
