//! The load generator of the comparison: sends signed deliveries over keep-alive connections and
//! prints the latencies of the responses.
//!
//! Every delivery is a new event. All deliveries are signed before the first one is sent, so that
//! signing is not measured. They carry the headers of Standard Webhooks, and GitHub's
//! `x-hub-signature-256` for systems that verify only a MAC of the body.

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_benches::{SECRET, json};
use hookgate_core::{Provider, Secret, Signer};
use hookgate_gate::{Clock, SystemClock};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

#[derive(Debug, Parser)]
struct Options {
    /// Address of the system
    #[arg(long)]
    to: SocketAddr,
    /// Path of the deliveries
    #[arg(long, default_value = "/hooks")]
    path: String,
    /// CA certificate of the system, which enables TLS
    #[arg(long)]
    ca: Option<std::path::PathBuf>,
    /// Size of a body in bytes
    #[arg(long, default_value_t = 1024)]
    len: usize,
    /// Number of deliveries
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Number of connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Deliveries a second, at even intervals, without waiting for earlier responses. By default
    /// each connection sends its next delivery after a response
    #[arg(long, value_parser = above_zero)]
    rate: Option<f64>,
    /// Fault of the deliveries
    #[arg(long, value_enum, default_value_t = Fault::None)]
    fault: Fault,
    /// Expected status of every response, or 2 for any success
    #[arg(long, default_value_t = 2)]
    expect: u16,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0);
    rate.ok_or_else(|| "must be greater than 0".to_owned())
}

/// A fault of every delivery.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Fault {
    /// Genuine deliveries
    None,
    /// Signature of another body
    Forged,
    /// Signed seven minutes ago
    Stale,
}

/// Deliveries of the warm-up on each connection.
const WARM_UP: usize = 4;

type Failure = Box<dyn Error + Send + Sync>;

/// The prepared deliveries and their progress.
struct Load {
    options: Options,
    heads: Vec<HeaderMap>,
    body: Bytes,
    tls: Option<TlsConnector>,
    /// The number of the next delivery to send.
    next: AtomicUsize,
    /// The number of due deliveries at a fixed rate.
    due: Semaphore,
}

type Sender = SendRequest<Full<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<serde_json::Value, Failure> {
    let body = Bytes::from(json(options.len));
    let heads = sign(&options, &body)?;
    let tls = options.ca.as_deref().map(tls).transpose()?;
    // The warm-up opens the connections and fills the system's pool and caches. It ends before the
    // first measured delivery is due, because later deliveries would wait for a late one.
    let warm = WARM_UP.min(heads.len() / 4 / options.connections);
    let first = warm * options.connections;
    let load = Arc::new(Load {
        heads,
        body,
        tls,
        next: AtomicUsize::new(first),
        due: Semaphore::new(0),
        options,
    });
    let warming: Vec<_> = (0..load.options.connections)
        .map(|index| {
            let numbers = index * warm..(index + 1) * warm;
            tokio::spawn(Arc::clone(&load).warm_up(numbers))
        })
        .collect();
    let mut senders = Vec::with_capacity(warming.len());
    for connection in warming {
        senders.push(connection.await??);
    }
    let started = Instant::now();
    let pace = load.options.rate.map(|rate| Pace {
        started,
        first,
        rate,
    });
    if let Some(pace) = pace {
        let load = Arc::clone(&load);
        thread::spawn(move || load.release(pace));
    }
    let connections: Vec<_> = senders
        .into_iter()
        .map(|sender| tokio::spawn(Arc::clone(&load).run_connection(sender, pace)))
        .collect();
    let mut took = Vec::with_capacity(load.heads.len());
    for connection in connections {
        took.append(&mut connection.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    took.sort_unstable();
    let quantile = |of: f64| {
        let index = (took.len() as f64 * of) as usize;
        took.get(index.min(took.len().saturating_sub(1)))
            .map(|took| took.as_secs_f64() * 1e6)
    };
    Ok(serde_json::json!({
        "count": took.len(),
        "seconds": seconds,
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "max_us": quantile(1.0),
    }))
}

fn sign(options: &Options, body: &Bytes) -> Result<Vec<HeaderMap>, Failure> {
    let provider = Provider::named("standard-webhooks")?;
    let secret = Secret::new(SECRET)?;
    let signer = Signer::new(provider.scheme(), &secret)?;
    let mut at = SystemClock.now();
    if options.fault == Fault::Stale {
        at = at.minus(Duration::from_secs(420));
    }
    let signed = match options.fault {
        Fault::Forged => Bytes::from(json(options.len).replace('x', "y")),
        Fault::None | Fault::Stale => body.clone(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(&signed);
    let mac: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let hub = HeaderValue::try_from(format!("sha256={mac}"))?;
    let run = std::process::id();
    let heads = (0..options.count).map(|number| {
        // Forged deliveries share one MAC, because every wrong signature costs the same.
        let id = format!("msg_{run}_{number}");
        let mut head = signer.sign(&signed, at, Some(&id))?;
        head.insert("x-hub-signature-256", hub.clone());
        head.insert("host", HeaderValue::from_static("localhost"));
        head.insert("content-type", HeaderValue::from_static("application/json"));
        Ok(head)
    });
    heads.collect()
}

fn tls(ca: &std::path::Path) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The schedule of the measured deliveries at a fixed rate.
#[derive(Clone, Copy)]
struct Pace {
    started: Instant,
    /// The number of the delivery that is due at `started`.
    first: usize,
    /// Deliveries a second.
    rate: f64,
}

impl Pace {
    /// Returns the time at which a delivery is due.
    fn due_at(&self, number: usize) -> Instant {
        self.started + Duration::from_secs_f64((number - self.first) as f64 / self.rate)
    }
}

impl Load {
    /// Opens a connection and sends the given deliveries on it.
    async fn warm_up(self: Arc<Self>, numbers: Range<usize>) -> Result<Sender, Failure> {
        let mut sender = self.connect().await?;
        for number in numbers {
            self.deliver(&mut sender, number).await?;
        }
        Ok(sender)
    }

    /// Sends deliveries on one connection until none is left. Returns the latency of each.
    async fn run_connection(
        self: Arc<Self>,
        mut sender: Sender,
        pace: Option<Pace>,
    ) -> Result<Vec<Duration>, Failure> {
        let mut took = Vec::new();
        loop {
            if pace.is_some() {
                self.due.acquire().await?.forget();
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.heads.len() {
                return Ok(took);
            }
            // At a fixed rate the latency counts from the due time, so that a slow system pays for
            // the delay of later deliveries (coordinated omission).
            let start = pace.map_or_else(Instant::now, |pace| pace.due_at(number));
            self.deliver(&mut sender, number).await?;
            took.push(start.elapsed());
        }
    }

    /// Sends a delivery, on a new connection if the system closed the old one.
    async fn deliver(&self, sender: &mut Sender, number: usize) -> Result<(), Failure> {
        if sender.ready().await.is_err() {
            *sender = self.connect().await?;
        }
        let mut request = Request::post(&*self.options.path).body(Full::new(self.body.clone()))?;
        *request.headers_mut() = self.heads[number].clone();
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        self.check(status)
    }

    /// Releases each delivery at its due time, and wakes every connection at the end.
    ///
    /// This needs a thread of its own: the timers of the runtime have a resolution of a
    /// millisecond, so the deliveries of a millisecond would be sent in a burst.
    fn release(&self, pace: Pace) {
        for number in pace.first..self.heads.len() {
            let due = pace.due_at(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.due.add_permits(1);
        }
        self.due.add_permits(self.options.connections);
    }

    /// Checks the status of a response.
    fn check(&self, status: StatusCode) -> Result<(), Failure> {
        let expected = self.options.expect;
        if status.as_u16() == expected || (expected == 2 && status.is_success()) {
            return Ok(());
        }
        Err(format!("received status {status}, expected {expected}").into())
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(self.options.to).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(sender)
            }
            Some(tls) => {
                let stream = tls
                    .connect(ServerName::try_from("localhost")?, stream)
                    .await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(sender)
            }
        }
    }
}
