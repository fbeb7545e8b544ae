//! The gateway of the demonstration: a child process that runs this program.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use super::super::Error;
use super::DemoProvider;

/// A running gateway process. Dropping it kills the process.
pub(super) struct Gateway {
    process: Child,
    address: SocketAddr,
}

impl Gateway {
    /// Starts a gateway on a free port in front of `upstream`.
    pub(super) fn start(providers: &[DemoProvider], upstream: SocketAddr) -> Result<Self, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["run", "--config", "-", "--log", "json"])
            // The log must contain the address, whatever the level in the environment is.
            .env_remove("HOOKGATE_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for provider in providers {
            command.env(provider.variable(), &provider.secret);
        }
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let log = process.stderr.take();
        // `Gateway` kills the process if a later step fails.
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut gateway = Self {
            process,
            address: any,
        };
        if let (Some(mut stdin), Some(log)) = (stdin, log) {
            stdin.write_all(configuration(providers, upstream).as_bytes())?;
            drop(stdin);
            gateway.address = wait_until_listening(BufReader::new(log))?;
        }
        Ok(gateway)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self, provider: &DemoProvider) -> String {
        format!("http://{}{}", self.address, provider.path())
    }

    /// Waits until the process ends.
    pub(super) fn wait(&mut self) -> Result<(), Error> {
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both calls fail if the process has ended already.
        let _: std::io::Result<()> = self.process.kill();
        let _: std::io::Result<_> = self.process.wait();
    }
}

/// Returns the text of the configuration.
fn configuration(providers: &[DemoProvider], upstream: SocketAddr) -> String {
    let mut text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [upstreams.app]\nservers = [\"{upstream}\"]\n"
    );
    for provider in providers {
        let (name, path, variable) = (provider.entry.name(), provider.path(), provider.variable());
        // Writing to a string does not fail.
        let _: std::fmt::Result = write!(
            text,
            "[[sources]]\nname = \"{name}\"\npath = \"{path}\"\nprovider = \"{name}\"\n\
             secrets = [\"env:{variable}\"]\nupstream = \"app\"\n"
        );
    }
    text
}

/// Reads log lines up to the one with the address for deliveries, and returns the address. A thread
/// reads the rest of the log, so that the process never blocks on it.
fn wait_until_listening(
    mut log: BufReader<impl std::io::Read + Send + 'static>,
) -> Result<SocketAddr, Error> {
    let mut text = String::new();
    let mut address = None;
    while address.is_none() {
        let start = text.len();
        if log.read_line(&mut text)? == 0 {
            return Err(Error::new(format!("the gateway did not start:\n{text}")));
        }
        let line: serde_json::Value = serde_json::from_str(&text[start..]).unwrap_or_default();
        let fields = &line["fields"];
        if fields["message"] == "listening" && fields["role"] == "deliveries" {
            address = fields["address"]
                .as_str()
                .and_then(|text| text.parse().ok());
        }
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    address.ok_or_else(|| Error::new("the log of the gateway contains no address"))
}
