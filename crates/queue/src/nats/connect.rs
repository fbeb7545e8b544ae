//! Connects to the servers, checks them, and watches the streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject as _;
use async_nats::rustls::{ClientConfig, RootCertStore, crypto};
use async_nats::{ConnectOptions, Event, jetstream};
use tokio::time::{Instant, sleep};

use super::clock::{ServerClock, ServerTime};
use super::config::NatsConfig;
use super::error::{CallError, NatsConnectError};
use super::names::Names;
use super::server::{Server, WATCH_INTERVAL};
use super::streams;
use super::url::Login;

/// The limit for a connection to one server. A suspended server accepts connections and does not
/// answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The time after which a connection without an answer to a ping is replaced is twice this.
const PING_INTERVAL: Duration = Duration::from_secs(5);

const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Connects, and creates or checks the streams.
pub(super) async fn connect(config: NatsConfig) -> Result<Server, NatsConnectError> {
    if let Some(problem) = config.problem() {
        return Err(NatsConnectError::new(problem));
    }
    let client = options(&config)?.connect(config.target.addresses()).await;
    let client = client.map_err(|error| {
        NatsConnectError::caused(format!("cannot connect to NATS at {config}"), error)
    })?;
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(config.timeout);
    let names = Names::new(&config.stream);
    let info = streams::prepare(&jetstream, &config, &names).await?;
    if config.largest_body > 0 {
        let max_payload = client.server_info().max_payload;
        streams::check_largest_message(config.largest_body, max_payload, &info)?;
    }
    let stream = async |name: &str| {
        let stream = jetstream.get_stream_no_info(name).await;
        stream.map_err(|error| NatsConnectError::caused(format!("cannot use {name}"), error))
    };
    let server = Server {
        work: stream(&names.work).await?,
        dead: stream(&names.dead).await?,
        state: stream(&names.state).await?,
        clock: ServerClock::new(Instant::now(), ServerTime(0)),
        stream_number: AtomicU32::new(stream_number(&info)),
        client,
        jetstream,
        config,
        names,
    };
    let set = server.set_clock().await;
    set.map_err(|error| NatsConnectError::caused("cannot store a message in JetStream", error))?;
    Ok(server)
}

fn options(config: &NatsConfig) -> Result<ConnectOptions, NatsConnectError> {
    let servers = config.to_string();
    let options = ConnectOptions::new()
        .name("hookgate")
        .require_tls(config.target.tls)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(config.timeout))
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            (Duration::from_millis(50) * attempts.min(100)).min(MAX_RECONNECT_PAUSE)
        })
        .event_callback(move |event| log(event, servers.clone()));
    // The client library uses the default provider of the process. An error means that the
    // application has already installed one, which then stays in use.
    let _ = crypto::ring::default_provider().install_default();
    let options = match &config.ca_pem {
        None => options,
        Some(pem) => options.tls_client_config(client_config(pem)?),
    };
    let options = match &config.target.login {
        None => options,
        Some(Login::Token(token)) => options.token(token.clone()),
        Some(Login::Password { user, password }) => {
            options.user_and_password(user.clone(), password.clone())
        }
    };
    match &config.credentials {
        None => Ok(options),
        Some(text) => options.credentials(text).map_err(|_| {
            // The error of the library could repeat a part of the seed.
            NatsConnectError::new(
                "the credentials are no credentials file; expected the text of a .creds file with \
                 a JWT and a seed",
            )
        }),
    }
}

fn client_config(pem: &[u8]) -> Result<ClientConfig, NatsConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate
            .map_err(|error| NatsConnectError::caused("the CA file is not valid PEM", error))
            .map(|certificate| roots.add(certificate))?;
        added.map_err(|error| NatsConnectError::caused("the CA file is not valid", error))?;
    }
    if roots.is_empty() {
        return Err(NatsConnectError::new("the CA file contains no certificate"));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn log(event: Event, server: String) {
    match event {
        Event::Connected => tracing::info!(server, "connected to NATS"),
        Event::Disconnected => tracing::warn!(server, "the connection to NATS is down"),
        Event::ServerError(_) | Event::ClientError(_) | Event::SlowConsumer(_) => {
            tracing::warn!(server, %event, "NATS reports an error");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(server, %event, "NATS");
        }
    }
}

/// Returns a number that differs for streams that were created at different times.
pub(super) fn stream_number(info: &Info) -> u32 {
    // The lower bits of the milliseconds repeat after 49 days.
    (info.created.unix_timestamp_nanos() / 1_000_000) as u32
}

/// Looks at the clock of the server and at the stream from time to time, while the queue exists.
pub(super) async fn watch(server: std::sync::Weak<Server>) {
    let mut was_well = true;
    loop {
        sleep(WATCH_INTERVAL).await;
        let Some(server) = server.upgrade() else {
            return;
        };
        let is_well = server.look(was_well).await;
        was_well = is_well;
    }
}

impl Server {
    /// Sets the clock from the time of a message, which every version of the server tells.
    pub(super) async fn set_clock(&self) -> Result<(), CallError> {
        let subject = self.names.clock();
        let start = Instant::now();
        self.publish(subject.clone(), Default::default(), Default::default())
            .await?;
        if let Some(message) = self.last_of_state(&subject).await? {
            let time = ServerTime::from_nanos(message.time.unix_timestamp_nanos());
            // The server stored the message after `start`. So this clock is never late, and an
            // entry never seems to wait longer than it does.
            self.clock.set(start, time);
        }
        Ok(())
    }

    /// Returns whether the stream exists. Reports a new stream with the same name.
    async fn look(self: Arc<Self>, was_well: bool) -> bool {
        if let Err(error) = self.set_clock().await {
            tracing::debug!(%error, "the clock of NATS could not be read");
        }
        let stream = &self.names.work;
        let call = format!("STREAM.INFO.{stream}");
        match self.api::<Info>(&call, &serde_json::json!({})).await {
            Ok(info) => {
                let number = stream_number(&info);
                if self.stream_number.swap(number, Ordering::Relaxed) != number {
                    tracing::error!(
                        stream,
                        "the stream of the queue was deleted and created again; the deliveries \
                         that waited in it are lost, unless a backup was restored"
                    );
                }
                true
            }
            Err(error @ CallError::StreamGone(_)) => {
                if was_well {
                    tracing::error!(stream, %error, "the stream of the queue is gone");
                }
                false
            }
            Err(_) => was_well,
        }
    }
}
