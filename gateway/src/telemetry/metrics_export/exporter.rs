//! Sends the metrics to a collector over HTTP, from a thread of its own.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hookgate_core::UnixTime;
use hookgate_core::internal::ErrorChain;
use http::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;
use reqwest::Client;
use tokio::runtime::{Builder, Runtime};

use super::convert::{Times, export_request};
use super::settings::Settings;
use crate::gateway::Gateway;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::trace::resource;

/// How long the process waits for the last export at its end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends the metrics at an interval, if a collector is configured.
#[derive(Debug)]
pub(crate) struct MetricsExporter(State);

#[derive(Debug)]
enum State {
    Off,
    Configured(Settings),
    Running {
        /// Dropping it ends the thread.
        stop: Sender<()>,
        thread: JoinHandle<()>,
    },
}

/// The thread that exports.
struct Export {
    gateway: Arc<Gateway>,
    settings: Settings,
    runtime: Runtime,
    client: Client,
    resource: ProtoResource,
    start: u64,
    failures: LogThrottle,
}

impl MetricsExporter {
    /// Reads the environment variables of the OpenTelemetry specification.
    ///
    /// # Errors
    ///
    /// Returns a message if a value is invalid or not supported.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let settings = Settings::read(|name| std::env::var(name).ok())?;
        Ok(Self(settings.map_or(State::Off, State::Configured)))
    }

    /// Starts the thread that exports the metrics of `gateway`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the thread or its HTTP client cannot be made.
    pub(crate) fn start(self, gateway: &Arc<Gateway>) -> io::Result<Self> {
        let State::Configured(settings) = self.0 else {
            return Ok(self);
        };
        let client = Client::builder()
            .timeout(settings.timeout)
            // The headers can contain a secret, which must not reach another host.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let resource = ResourceAttributesWithSchema::from(&resource());
        let export = Export {
            gateway: Arc::clone(gateway),
            settings,
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: client.map_err(io::Error::other)?,
            resource: ProtoResource {
                attributes: resource.attributes.0,
                ..ProtoResource::default()
            },
            start: nanos_since_1970(gateway.now()),
            failures: LogThrottle::default(),
        };
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("metrics-export".to_owned())
            .spawn(move || export.run(&stopped))?;
        Ok(Self(State::Running { stop, thread }))
    }

    /// Sends the metrics for the last time, within [`SHUTDOWN_TIMEOUT`].
    pub(crate) fn shut_down(self) {
        let State::Running { stop, thread } = self.0 else {
            return;
        };
        drop(stop);
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!("cannot send the last metrics in time");
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Export {
    fn run(&self, stopped: &Receiver<()>) {
        let mut next = Instant::now() + self.settings.interval;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let is_last = stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            if let Err(error) = self.runtime.block_on(self.send())
                && (is_last || self.failures.should_log())
            {
                tracing::warn!(
                    error = %ErrorChain(&*error),
                    "cannot send the metrics to the OpenTelemetry collector; further failures \
                     are not logged for a minute"
                );
            }
            if is_last {
                return;
            }
            // An export that takes longer than an interval skips the exports in the meantime.
            next = (next + self.settings.interval).max(Instant::now());
        }
    }

    async fn send(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let families = self.gateway.gather_metrics().await;
        let times = Times {
            start: self.start,
            now: nanos_since_1970(self.gateway.now()),
        };
        let request = export_request(&families, self.resource.clone(), times);
        let response = self
            .client
            .post(&self.settings.endpoint)
            .headers(self.settings.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(request.encode_to_vec())
            .send()
            .await
            // The address can contain a password.
            .map_err(reqwest::Error::without_url)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the collector responded with {status}; expected 200").into()),
        }
    }
}

fn nanos_since_1970(time: UnixTime) -> u64 {
    let millis = u64::try_from(time.millis()).unwrap_or(0);
    millis.saturating_mul(1_000_000)
}
