//! A process with the libraries of one registry. It answers requests to sign and to verify.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookgate_core::UnixTime;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::delivery::Delivery;
use super::library::{Library, Registry, data_file};

/// The process. Dropping it closes its input, and it ends.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The verdict of a library, with its reason for a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    accepted: Option<bool>,
    error: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// The folder into which `make provider-sdks` or `make drift` installs the libraries.
#[derive(Clone, Debug)]
pub(crate) struct Installed(PathBuf);

impl Installed {
    /// Returns the folder, or `None` if the comparison is skipped.
    pub(crate) fn from_environment() -> Option<Self> {
        match std::env::var("HOOKGATE_PROVIDER_SDKS") {
            Ok(skip) if skip == "skip" => {
                eprintln!("SKIPPED: the providers' own libraries are not installed");
                None
            }
            Ok(folder) => Some(Self(folder.into())),
            Err(_) => panic!(
                "HOOKGATE_PROVIDER_SDKS is not set: run `make test` or `make strangers`, which \
                 install the providers' libraries, or set it to `skip` to skip these tests"
            ),
        }
    }

    /// Returns whether the folder also has the libraries that only `make drift` installs.
    pub fn has_extras(&self) -> bool {
        self.0.join("extras").exists()
    }

    /// Returns the folder if the libraries of `registry` are installed there.
    pub(crate) fn folder(&self, registry: Registry) -> Option<PathBuf> {
        let installed = self.0.join(format!("{registry}.installed").to_lowercase());
        if !installed.exists() {
            eprintln!("SKIPPED: the libraries of {registry} are not installed");
            return None;
        }
        Some(self.0.clone())
    }

    /// Starts the process for `registry`, or returns `None` if its libraries are not installed.
    pub(super) fn worker(&self, registry: Registry) -> Option<Worker> {
        let folder = self.folder(registry)?;
        let (program, name) = match registry {
            Registry::Npm => (PathBuf::from("node"), "adapters.mjs"),
            Registry::PyPi => (folder.join("venv/bin/python"), "adapters.py"),
        };
        // Node looks for a library in the folders above the file that imports it. A worker of another
        // test may read the file at this moment, so it is replaced as a whole.
        let script = folder.join(name);
        let mut new =
            NamedTempFile::new_in(&folder).expect("the folder of the libraries is writable");
        new.write_all(data_file(name).as_bytes())
            .expect("the file is written");
        new.persist(&script).expect("the file is replaced");
        Some(Worker::start(&program, &script))
    }
}

impl Worker {
    fn start(program: &Path, script: &Path) -> Self {
        let mut process = Command::new(program)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("the stream is piped"));
        Self {
            process,
            input,
            output,
        }
    }

    /// Returns whether `library` accepts `delivery`, with its reason if it does not.
    pub fn verify(&mut self, library: &Library, delivery: &Delivery) -> (bool, String) {
        let mut request = request(library, "verify", delivery, &library.provider.secret);
        request["headers"] = delivery.headers_as_json();
        let answer = self.ask(&request);
        let accepted = answer.accepted.unwrap_or_else(|| {
            panic!("{}: the adapter failed: {:?}", library.name(), answer.error)
        });
        (accepted, answer.error.unwrap_or_default())
    }

    /// Returns the delivery that `library` makes of `unsigned` with `secret`.
    pub fn sign(
        &mut self,
        library: &Library,
        unsigned: &Delivery,
        secret: &str,
        id: &str,
        at: UnixTime,
    ) -> Delivery {
        let mut request = request(library, "sign", unsigned, secret);
        request["at"] = at.secs().into();
        request["id"] = id.into();
        let answer = self.ask(&request);
        if let Some(error) = answer.error {
            panic!("{}: the adapter failed to sign: {error}", library.name());
        }
        let body = answer.body.map(|text| {
            let bytes = STANDARD.decode(text).expect("the body is base64");
            Bytes::from(bytes)
        });
        unsigned.with_signature(&answer.headers, body)
    }

    fn ask(&mut self, request: &Value) -> Answer {
        let input = self.input.as_mut().expect("the worker is running");
        writeln!(input, "{request}").expect("the worker reads its input");
        input.flush().expect("the worker reads its input");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the worker writes its output");
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the worker ended or wrote {line:?} to {request}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        // A failure leaves no process behind that the test could still stop.
        let _ = self.process.wait();
    }
}

fn request(library: &Library, operation: &str, delivery: &Delivery, secret: &str) -> Value {
    json!({
        "op": operation,
        "name": library.provider.name,
        "variant": library.provider.variant,
        "package": library.package,
        "secret": secret,
        "method": delivery.method().as_str(),
        "url": delivery.url(),
        "params": library.provider.params,
        "body": STANDARD.encode(delivery.body()),
    })
}
