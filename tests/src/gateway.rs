//! A real gateway process, and the builder for its configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::certificates::Certificates;
use crate::client::get_admin;
use crate::delivery::{SECRETS, TestProvider};
use crate::starting_gateway::StartingGateway;

/// The name of the configuration file in the folder of a gateway.
pub(crate) const CONFIG_FILE: &str = "gateway.toml";
/// The longest time that a test waits for the gateway.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A gateway process on free ports. Dropping this value kills the process, as `kill -9` does.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) process: Child,
    pub(crate) deliveries: SocketAddr,
    pub(crate) deliveries_tls: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) log: Arc<Mutex<String>>,
    /// Whether the thread below goes on reading the log pipe.
    pub(crate) reads_log: Arc<AtomicBool>,
    /// The thread that reads the log pipe. It ends with the process.
    pub(crate) log_reader: JoinHandle<()>,
    /// The folder of the configuration file.
    pub(crate) folder: TempDir,
    pub(crate) envs: Vec<(String, String)>,
}

/// The configuration and environment of a gateway to start.
#[derive(Debug)]
pub struct GatewayBuilder {
    include: String,
    listen: Vec<String>,
    server: String,
    replay: String,
    upstream: String,
    every_source: String,
    tables: String,
    envs: Vec<(String, String)>,
    shell_prefix: String,
}

impl Gateway {
    /// Creates a gateway with a source for each of [`SECRETS`], in front of `upstream`.
    ///
    /// The boot fence is off, because the suites start many gateways and send at once.
    pub fn builder(upstream: SocketAddr) -> GatewayBuilder {
        Self::builder_with_servers(&[&upstream.to_string()])
    }

    /// Creates such a gateway in front of an upstream with several servers.
    pub fn builder_with_servers(servers: &[&str]) -> GatewayBuilder {
        GatewayBuilder {
            include: String::new(),
            listen: vec!["127.0.0.1:0".to_owned()],
            server: String::new(),
            replay: "[replay]\nboot_fence = false\n".to_owned(),
            upstream: format!("[upstreams.app]\nservers = {servers:?}\n"),
            every_source: String::new(),
            tables: String::new(),
            envs: Vec::new(),
            shell_prefix: String::new(),
        }
    }

    /// Starts a gateway with the configuration `config` and environment variables.
    pub fn start_with(config: &str, envs: &[(&str, &str)]) -> Self {
        let owned = envs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        StartingGateway::new(config, owned.collect(), "", "").wait_until_listening()
    }

    /// Returns the address for deliveries.
    pub fn address(&self) -> SocketAddr {
        self.deliveries
    }

    /// Returns the address for deliveries over TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.deliveries_tls
            .expect("the configuration has a table [[server.tls]]")
    }

    /// Returns the admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Closes the log pipe after the next line, so that writing to the log fails from then on.
    pub fn close_log_pipe(&mut self) {
        self.reads_log.store(false, Ordering::SeqCst);
    }

    /// Starts a process that takes over from this one.
    pub fn successor(&self) -> Self {
        self.start_successor(|config| config).wait_until_listening()
    }

    /// Starts a process whose changed configuration lets it fail to take over from this one, and
    /// waits until this one serves again. Returns the log of the other process.
    pub async fn failing_successor(&self, change: impl FnOnce(String) -> String) -> String {
        let log = self.start_successor(change).wait_for_failure();
        self.wait_for_log("upgrade failed; continuing to serve")
            .await;
        log
    }

    fn start_successor(&self, change: impl FnOnce(String) -> String) -> StartingGateway {
        let config =
            std::fs::read_to_string(self.config_path()).expect("the configuration is readable");
        let config = config
            .replacen("127.0.0.1:0", &self.deliveries.to_string(), 1)
            .replacen("127.0.0.1:0", &self.admin.to_string(), 1);
        let config = match self.deliveries_tls {
            Some(tls) => config.replacen("127.0.0.1:0", &tls.to_string(), 1),
            None => config,
        };
        let mut starting =
            StartingGateway::new(&change(config), self.envs.clone(), "", "--upgrade");
        let waiting = "waiting for the running gateway; send it SIGQUIT";
        while starting
            .next_log_line()
            .unwrap_or_else(|log| panic!("the successor ended:\n{log}"))["fields"]["message"]
            != waiting
        {}
        self.signal("QUIT");
        starting
    }

    /// Returns the path of the configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join(CONFIG_FILE)
    }

    /// Sends the process a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status();
        assert!(
            sent.expect("`kill` is installed").success(),
            "the gateway is gone"
        );
    }

    /// Waits until the process has ended and its log is complete.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            let status = self.process.try_wait().expect("the process is a child");
            if let Some(status) = status
                && self.log_reader.is_finished()
            {
                return status;
            }
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "the gateway is still running:\n{}",
                self.log()
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Replaces `from` by `to` in the configuration file, without a signal.
    pub fn edit_config(&self, from: &str, to: &str) {
        let text =
            std::fs::read_to_string(self.config_path()).expect("the configuration is readable");
        assert!(
            text.contains(from),
            "the configuration has no {from}:\n{text}"
        );
        // A rename is atomic: the gateway never reads half a file.
        let new = self.folder.path().join("new");
        std::fs::write(&new, text.replace(from, to)).expect("the file is written");
        std::fs::rename(new, self.config_path()).expect("the file is replaced");
    }

    /// Sends `SIGHUP` and waits for the reload. Returns whether the gateway accepted the
    /// configuration.
    pub async fn reload(&self) -> bool {
        let before = self.reloads().await;
        self.signal("HUP");
        self.wait_for_reload(before).await
    }

    /// Waits for a reload after the counters of [`Self::reloads`] were `before`. Returns whether
    /// the gateway accepted the configuration.
    pub async fn wait_for_reload(&self, before: [u64; 2]) -> bool {
        let start = Instant::now();
        loop {
            let now = self.reloads().await;
            if now != before {
                return now[0] > before[0];
            }
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "the gateway did not reload:\n{}",
                self.log()
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the numbers of successful and failed reloads.
    pub async fn reloads(&self) -> [u64; 2] {
        let metrics = self.get_admin("/metrics").await;
        ["success", "failure"].map(|result| {
            let name = format!("hookgate_config_reloads_total{{result=\"{result}\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.expect("reloads are counted")
                .parse()
                .expect("a counter is a number")
        })
    }

    /// Returns the response of the admin address at `path`, head and body.
    pub async fn get_admin(&self, path: &str) -> String {
        get_admin(self.admin, path).await
    }

    /// Waits until the log contains `text`.
    pub async fn wait_for_log(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "the log has no {text:?}:\n{}",
                self.log()
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the access log lines so far. They are part of the log by default.
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().map(serde_json::from_str);
        lines
            .map_while(Result::ok)
            .filter(|line: &Value| line["outcome"].is_string())
            .collect()
    }

    /// Waits until the access log has `count` lines, and returns them. A line is written at the
    /// end of its request, shortly after the response.
    pub async fn wait_for_access_log(&self, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let lines = self.access_log();
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < WAIT_TIMEOUT, "{lines:?}");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the sum of the counters of `/metrics` whose name and labels start with `series`.
    /// Without such a counter, the sum is 0.
    pub async fn counter(&self, series: &str) -> u64 {
        let metrics = self.get_admin("/metrics").await;
        sum_of_series(&metrics, series).unwrap_or(0)
    }

    /// Returns the same sum.
    ///
    /// # Panics
    ///
    /// Panics without such a counter. A wrong name then fails the test.
    pub async fn existing_counter(&self, series: &str) -> u64 {
        let metrics = self.get_admin("/metrics").await;
        let sum = sum_of_series(&metrics, series);
        sum.unwrap_or_else(|| panic!("no series {series}\n{metrics}"))
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .expect("the log thread does not panic")
            .clone()
    }
}

/// Returns the sum of the numbers in `metrics` whose name and labels start with `series`, if there
/// is one.
pub fn sum_of_series(metrics: &str, series: &str) -> Option<u64> {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.reduce(|sum, count| sum + count)
}

impl GatewayBuilder {
    /// Includes the files that a pattern names.
    pub fn include(mut self, pattern: &str) -> Self {
        self.include = format!("include = {pattern:?}\n");
        self
    }

    /// Adds an address to `listen`.
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// Adds lines to the table `server`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Adds a TLS listener with `server.pem` of `certificates`.
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
        self.every_source.push_str(lines);
        self.every_source.push('\n');
        self
    }

    /// Runs `command`, such as a `ulimit`, in the shell that starts the gateway.
    pub fn shell_prefix(mut self, command: &str) -> Self {
        self.shell_prefix.push_str(command);
        self.shell_prefix.push(';');
        self
    }

    /// Adds lines to the table `replay`.
    pub fn replay(mut self, lines: &str) -> Self {
        self.replay.push_str(lines);
        self.replay.push('\n');
        self
    }

    /// Turns the boot fence on.
    pub fn boot_fence(mut self) -> Self {
        self.replay = self
            .replay
            .replace("boot_fence = false", "boot_fence = true");
        self
    }

    /// Adds lines to the upstream `app`.
    pub fn upstream(mut self, lines: &str) -> Self {
        self.upstream.push_str(lines);
        self.upstream.push('\n');
        self
    }

    /// Adds a table to the configuration.
    pub fn table(mut self, lines: &str) -> Self {
        self.tables.push_str(lines);
        self.tables.push('\n');
        self
    }

    /// Sets an environment variable of the gateway.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the gateway with a source for each of [`SECRETS`].
    ///
    /// # Panics
    ///
    /// Panics if the gateway ends.
    pub fn start(self) -> Gateway {
        self.try_start()
            .unwrap_or_else(|log| panic!("the gateway ended:\n{log}"))
    }

    /// Does the same, and returns the log of a gateway that ends.
    pub fn try_start(mut self) -> Result<Gateway, String> {
        for (index, (name, secret)) in SECRETS.iter().enumerate() {
            let path = TestProvider::named(name).path();
            self.tables.push_str(&format!(
                "[[sources]]\nname = \"{name}\"\npath = \"{path}\"\nprovider = \"{name}\"\n\
                 secrets = [\"env:SECRET_{index}\"]\nupstream = \"app\"\n{}",
                self.every_source
            ));
            self.envs
                .push((format!("SECRET_{index}"), (*secret).to_owned()));
        }
        self.try_start_without_default_sources()
    }

    /// Starts the gateway with only the sources that the test added by [`Self::table`].
    ///
    /// # Panics
    ///
    /// Panics if the gateway ends.
    pub fn start_without_default_sources(self) -> Gateway {
        self.try_start_without_default_sources()
            .unwrap_or_else(|log| panic!("the gateway ended:\n{log}"))
    }

    /// Does the same, and returns the log of a gateway that ends.
    pub fn try_start_without_default_sources(mut self) -> Result<Gateway, String> {
        if !self.server.contains("access_log") {
            self.server = format!("access_log = \"stderr\"\n{}", self.server);
        }
        let config = format!(
            "{}[server]\nlisten = {:?}\nadmin = \"127.0.0.1:0\"\n{}{}{}{}",
            self.include, self.listen, self.server, self.replay, self.upstream, self.tables
        );
        StartingGateway::new(&config, self.envs, &self.shell_prefix, "").try_wait_until_listening()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
