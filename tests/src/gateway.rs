use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::certificates::Certificates;
use crate::client::admin;
use crate::delivery::{Provided, SECRETS};

const CONFIG: &str = "gateway.toml";
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what takes a while.
const GLANCE: Duration = Duration::from_millis(10);

/// A real gateway process on free ports. It ends with this value, as by `kill -9`.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    deliveries: SocketAddr,
    deliveries_tls: Option<SocketAddr>,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
    reading: Arc<AtomicBool>,
    /// Where its configuration is.
    folder: TempDir,
    envs: Vec<(String, String)>,
}

/// What a gateway is started with.
#[derive(Debug)]
pub struct GatewayBuilder {
    server: String,
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
            server: String::new(),
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

    /// Where it takes deliveries over TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.deliveries_tls
            .expect("it was started with a table [[server.tls]]")
    }

    /// Where it answers operators.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Closes the log once its next line has come.
    pub fn stop_reading_the_log(&mut self) {
        self.reading.store(false, Ordering::SeqCst);
    }

    /// Starts a process that takes over from this one.
    pub fn successor(&self) -> Self {
        self.succeeded_with(|config| config).listening()
    }

    /// Starts a process with another configuration that tries to take over from this one,
    /// and fails: what it has logged.
    pub fn failing_successor(&self, change: impl FnOnce(String) -> String) -> String {
        self.succeeded_with(change).ended()
    }

    fn succeeded_with(&self, change: impl FnOnce(String) -> String) -> Starting {
        let config = std::fs::read_to_string(self.config()).expect("it is there");
        let config = config
            .replacen("127.0.0.1:0", &self.deliveries.to_string(), 1)
            .replacen("127.0.0.1:0", &self.admin.to_string(), 1);
        let config = match self.deliveries_tls {
            Some(tls) => config.replacen("127.0.0.1:0", &tls.to_string(), 1),
            None => config,
        };
        let mut starting = Starting::new(&change(config), self.envs.clone(), "", "--upgrade");
        let waits = "waiting for the sockets of the process before";
        while starting.next()["fields"]["message"] != waits {}
        self.signal("QUIT");
        starting
    }

    /// The file with its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join(CONFIG)
    }

    /// Sends it a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.process.id().to_string()])
            .status();
        assert!(sent.expect("there is a kill").success(), "it is gone");
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is a child") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it goes on:\n{}", self.log());
            sleep(GLANCE).await;
        }
    }

    /// Puts `from` for `to` in its configuration, without telling it.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).expect("it is there");
        assert!(text.contains(from), "{from} is not in it:\n{text}");
        // As editors do: a reader never sees half of it.
        let new = self.folder.path().join("new");
        std::fs::write(&new, text.replace(from, to)).expect("it can be written");
        std::fs::rename(new, self.config()).expect("it can be replaced");
    }

    /// Has it read its configuration anew, and waits until it has: whether it was
    /// good.
    pub async fn reload(&self) -> bool {
        let before = self.reloads().await;
        self.signal("HUP");
        self.reloaded_since(before).await
    }

    /// Waits until it has read its configuration anew since there were `before`
    /// reloads.
    pub async fn reloaded_since(&self, before: [u64; 2]) -> bool {
        let start = Instant::now();
        loop {
            let now = self.reloads().await;
            if now != before {
                return now[0] > before[0];
            }
            assert!(start.elapsed() < PATIENCE, "no reload:\n{}", self.log());
            sleep(GLANCE).await;
        }
    }

    /// How often it has read its configuration anew, with success and without.
    pub async fn reloads(&self) -> [u64; 2] {
        let metrics = self.ask("/metrics").await;
        ["success", "failure"].map(|result| {
            let name = format!("hookgate_config_reloads_total{{result=\"{result}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.expect("it is counted").parse().expect("a number")
        })
    }

    /// What it answers operators at `path`, with the head.
    pub async fn ask(&self, path: &str) -> String {
        admin(self.admin, path).await
    }

    /// Waits until it has logged `text`.
    pub async fn says(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "{text}:\n{}", self.log());
            sleep(GLANCE).await;
        }
    }

    /// The lines of its access log so far, if it is in the log.
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().map(serde_json::from_str);
        lines
            .map_while(Result::ok)
            .filter(|line: &Value| line["outcome"].is_string())
            .collect()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }
}

impl GatewayBuilder {
    /// Adds lines to the table `server`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Listens with TLS too, with `server.pem` of `certificates`.
    pub fn tls(self, certificates: &Certificates) -> Self {
        let (cert, key) = (
            certificates.quoted("server.pem"),
            certificates.quoted("server.key"),
        );
        self.server(&format!(
            "[[server.tls]]\nlisten = \"127.0.0.1:0\"\ncert = {cert}\nkey = {key}"
        ))
    }

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

    /// Puts the boot fence up.
    pub fn boot_fence(mut self) -> Self {
        self.top = self.top.replace("boot_fence = false", "boot_fence = true");
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
    pub fn start_bare(mut self) -> Gateway {
        if !self.server.contains("access_log") {
            self.server = format!("access_log = \"stderr\"\n{}", self.server);
        }
        let config = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{}{}{}{}",
            self.server, self.top, self.upstream, self.sources
        );
        Starting::new(&config, self.envs, &self.before, "").listening()
    }
}

/// A process that has been started, and may still have to say where it listens.
struct Starting {
    process: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: Arc<Mutex<String>>,
    folder: TempDir,
    envs: Vec<(String, String)>,
}

impl Starting {
    fn new(config: &str, envs: Vec<(String, String)>, before: &str, option: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(CONFIG);
        std::fs::write(&file, config).expect("it can be written");
        let run = format!("{before} exec \"$0\" run --config \"$1\" --log json {option}");
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
        let lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        Self {
            process,
            lines,
            log: Arc::default(),
            folder,
            envs,
        }
    }

    /// The next line of its log.
    fn next(&mut self) -> Value {
        let mut log = self.log.lock().expect("no reader panics");
        let line = self.lines.next().and_then(Result::ok);
        let line = line.unwrap_or_else(|| panic!("the gateway ended:\n{log}"));
        log.push_str(&line);
        log.push('\n');
        serde_json::from_str(&line).unwrap_or_default()
    }

    /// Waits until it ends, which it does by itself: what it has logged.
    fn ended(mut self) -> String {
        let mut log = self.log.lock().expect("no reader panics").clone();
        for line in self.lines.map_while(Result::ok) {
            log.push_str(&line);
            log.push('\n');
        }
        let status = self.process.wait().expect("it is a child");
        assert!(!status.success(), "{log}");
        log
    }

    fn listening(mut self) -> Gateway {
        // A listener with TLS says so before the one for operators does.
        let mut deliveries_tls = None;
        let mut addresses = [None, None];
        while addresses.contains(&None) {
            let event = self.next();
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
            unreachable!("both are there")
        };
        let Self {
            process,
            lines,
            log,
            folder,
            envs,
        } = self;
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
            deliveries_tls,
            admin,
            log,
            reading,
            folder,
            envs,
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
