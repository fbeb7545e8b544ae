//! A redis-server process for one test. It listens on a free port and ends with the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, free_port};

/// A redis-server process. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The port on 127.0.0.1.
    pub port: u16,
    dir: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server without persistence, with additional arguments.
    pub fn start(arguments: &[&str]) -> Self {
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

    /// Starts a sentinel that watches `master` under the name "main".
    pub fn sentinel(master: &Self) -> Self {
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

    /// Returns the URL of the server, without a password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Moves the epochs of the server to the year 1970, so that no delivery is older.
    pub fn set_early_epochs(&self) {
        let script = "for slot = 0, 255 do \
             redis.call('SET', string.format('hookgate:{%02x}since', slot), 0) end";
        self.cli(&["EVAL", script, "0"]);
    }

    /// Kills the server, so that it cannot save anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again on the same port, with the files that it left.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.dir, &self.arguments);
        wait_for_answer(self.port);
    }

    /// Sends the server a signal, such as STOP. A server that is to stop has stopped afterwards.
    pub fn signal(&self, name: &str) {
        process::signal(&self.child, name);
    }

    /// Runs redis-cli with these arguments and returns its output.
    pub fn cli(&self, arguments: &[&str]) -> String {
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
        // An error means that the server has already ended. A suspended one is killed too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const INSTALL: &str = "redis-server and redis-cli are installed: apt install redis-server";

/// Returns the command for redis-server, or for the program in `HOOKGATE_REDIS_SERVER`.
fn program() -> Command {
    let program = std::env::var_os("HOOKGATE_REDIS_SERVER");
    Command::new(program.unwrap_or_else(|| "redis-server".into()))
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

fn wait_for_answer(port: u16) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let answers = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer)?;
            // A server that requires a password answers with -NOAUTH.
            Ok([*b"+PONG\r\n", *b"-NOAUTH"].contains(&answer))
        };
        if answers().unwrap_or(false) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server on port {port} does not answer");
}
