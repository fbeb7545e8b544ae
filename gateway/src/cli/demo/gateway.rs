//! The gateway of the demonstration: this very program, as a process of its own.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use super::super::Error;
use super::DemoProvider;

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
            // Where it listens is in its log.
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
        // From here on the process is ended however this ends.
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
        // It has ended already if it was waited for.
        let _: std::io::Result<()> = self.process.kill();
        let _: std::io::Result<_> = self.process.wait();
    }
}

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

/// Reads log lines up to the one with the address for deliveries; the rest is
/// read on the side, so that the process is never kept waiting for a reader.
fn wait_until_listening(
    mut log: BufReader<impl std::io::Read + Send + 'static>,
) -> Result<SocketAddr, Error> {
    let mut said = String::new();
    let mut address = None;
    while address.is_none() {
        let start = said.len();
        if log.read_line(&mut said)? == 0 {
            return Err(Error::new(format!("the gateway did not start:\n{said}")));
        }
        let line: serde_json::Value = serde_json::from_str(&said[start..]).unwrap_or_default();
        let fields = &line["fields"];
        if fields["message"] == "listening" && fields["role"] == "deliveries" {
            address = fields["address"]
                .as_str()
                .and_then(|text| text.parse().ok());
        }
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    address.ok_or_else(|| Error::new("the gateway did not say where it listens"))
}
