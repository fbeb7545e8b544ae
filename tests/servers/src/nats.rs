//! A nats-server process for one test. It listens on a free port and ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, free_port};

/// A nats-server process. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The port on 127.0.0.1.
    pub port: u16,
    dir: TempDir,
}

impl Server {
    /// Starts a server with JetStream, and with these lines in its configuration.
    pub fn start(lines: &str) -> Self {
        Self::with_config(
            free_port(),
            &format!("jetstream {{ store_dir: DIR }}\n{lines}"),
        )
    }

    /// Starts a server with this configuration. `DIR` is the folder of the server.
    pub fn with_config(port: u16, config: &str) -> Self {
        let server = Self::spawned(port, config);
        server.wait_for_answer();
        server
    }

    /// Starts three servers of one cluster, with these lines in their configurations.
    pub fn cluster(lines: &str) -> [Self; 3] {
        let ports = [(); 3].map(|()| (free_port(), free_port()));
        let routes: Vec<_> = ports
            .iter()
            .map(|(_, route)| format!("nats://127.0.0.1:{route}"))
            .collect();
        let servers = ports.map(|(port, route)| {
            let config = format!(
                "server_name: server{port}\n\
                 jetstream {{ store_dir: DIR }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n{lines}",
                routes.join(", ")
            );
            Self::spawned(port, &config)
        });
        for server in &servers {
            server.wait_for_answer();
        }
        servers
    }

    fn spawned(port: u16, config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mut text = format!("listen: \"127.0.0.1:{port}\"\n");
        let store = format!("{:?}", dir.path().join("store"));
        text.push_str(&config.replace("DIR", &store));
        std::fs::write(dir.path().join("nats.conf"), text).unwrap();
        Self {
            child: spawn(&dir),
            port,
            dir,
        }
    }

    /// Returns the URL of the server, without a password.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the folder with the streams.
    pub fn files(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the log since the last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills the server, so that it cannot save anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again on the same port, with the files that it left.
    pub fn restart(&mut self) {
        self.child = spawn(&self.dir);
        self.wait_for_answer();
    }

    /// Sends the server a signal, such as STOP. A server that is to stop has stopped afterwards.
    pub fn signal(&self, name: &str) {
        process::signal(&self.child, name);
    }

    /// Calls the API of JetStream, such as `STREAM.DELETE.hookgate`. Returns the answer.
    pub fn api(&self, call: &str) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        let request = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.{call} answer 0\r\n\r\n"
        );
        (&stream).write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        lines.find(|line| line.starts_with("MSG answer ")).unwrap();
        lines.next().unwrap()
    }

    fn wait_for_answer(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            let greets = || -> std::io::Result<bool> {
                let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
                stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                let mut greeting = [0; 4];
                stream.read_exact(&mut greeting)?;
                Ok(greeting == *b"INFO")
            };
            if greets().unwrap_or(false) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let (port, log) = (self.port, self.log());
        panic!("the server on port {port} does not answer: {log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that the server has already ended. A suspended one is killed too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the URL of several servers.
pub fn url(servers: &[Server]) -> String {
    let addresses = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port));
    format!("nats://{}", addresses.collect::<Vec<_>>().join(","))
}

/// Starts nats-server, or the program in `HOOKGATE_NATS_SERVER`.
fn spawn(dir: &TempDir) -> Child {
    let program = std::env::var_os("HOOKGATE_NATS_SERVER");
    let mut command = Command::new(program.unwrap_or_else(|| "nats-server".into()));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    command
        .arg("--config")
        .arg(dir.path().join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
        .spawn()
        .expect("nats-server is installed: apt install nats-server")
}
