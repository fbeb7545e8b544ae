//! A redis-server of the test's own, on a free port, that ends with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    dir: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts one that keeps nothing, with these further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let server = Self {
            child: spawn(port, &dir, &arguments),
            port,
            dir,
            arguments,
        };
        wait_for_answer(port);
        server
    }

    /// Starts one that watches `master` as "main".
    pub(crate) fn sentinel(master: &Self) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("sentinel.conf");
        let config = format!(
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n",
            master.port
        );
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let arguments = vec!["--sentinel".to_owned()];
        let mut command = program();
        command.arg(&file).args(["--port", &port.to_string()]);
        let server = Self {
            child: run(command.args(&arguments)),
            port,
            dir,
            arguments,
        };
        wait_for_answer(port);
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Has it remember since long ago, so that nothing is older than its memory.
    pub(crate) fn in_use(&self) {
        let begin = "for slot = 0, 255 do \
             redis.call('SET', string.format('hookgate:{%02x}since', slot), 0) end";
        self.cli(&["EVAL", begin, "0"]);
    }

    /// Kills it, without a chance to save anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with the files that it left.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir, &self.arguments);
        wait_for_answer(self.port);
    }

    /// Sends it a signal, such as STOP.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// What redis-cli says to these arguments.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &port]).args(arguments).output();
        let output = output.expect(INSTALL);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text.trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already; a stopped one is killed all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const INSTALL: &str = "redis-server and redis-cli are installed: apt install redis-server";

/// redis-server, or what `HOOKGATE_REDIS_SERVER` names instead of it.
fn program() -> Command {
    let named = std::env::var_os("HOOKGATE_REDIS_SERVER");
    Command::new(named.unwrap_or_else(|| "redis-server".into()))
}

fn spawn(port: u16, dir: &TempDir, arguments: &[String]) -> Child {
    let mut command = program();
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", ""])
        .arg("--dir")
        .arg(dir.path())
        .args(arguments);
    run(&mut command)
}

fn run(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect(INSTALL)
}

/// A port that nobody has, and that nobody is given before the server takes it: below those
/// that the system gives to connections, and each but once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn wait_for_answer(port: u16) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let answers = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer)?;
            // The second where a password is asked for.
            Ok([*b"+PONG\r\n", *b"-NOAUTH"].contains(&answer))
        };
        if answers().unwrap_or(false) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server on port {port} does not answer");
}
