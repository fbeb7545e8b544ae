//! [`NatsConfig`]: which servers and streams a queue uses.

use std::fmt;
use std::time::Duration;

use super::url::{NatsUrlError, Target};

/// The servers of a [`NatsQueue`](super::NatsQueue), and how the queue uses them.
#[derive(Clone)]
pub struct NatsConfig {
    pub(super) target: Target,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) credentials: Option<String>,
    pub(super) stream: String,
    pub(super) replicas: usize,
    pub(super) max_bytes: Option<u64>,
    pub(super) largest_body: u64,
    pub(super) timeout: Duration,
}

impl NatsConfig {
    /// The default name of the stream: `hookgate`.
    pub const DEFAULT_STREAM: &str = "hookgate";

    /// The default time limit of a call: 3 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

    /// Creates a configuration for the servers at `url`. The [module](super) lists the forms of
    /// the URL.
    ///
    /// # Errors
    ///
    /// Returns [`NatsUrlError`] if the URL has none of these forms.
    pub fn new(url: &str) -> Result<Self, NatsUrlError> {
        Ok(Self {
            target: Target::parse(url)?,
            ca_pem: None,
            credentials: None,
            stream: Self::DEFAULT_STREAM.to_owned(),
            replicas: 1,
            max_bytes: None,
            largest_body: 0,
            timeout: Self::DEFAULT_TIMEOUT,
        })
    }

    /// Trusts the certificates in this PEM text instead of the system's certificates, if the
    /// connection uses TLS.
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Authenticates with the text of a credentials file (`.creds`), which contains a JWT and
    /// an NKey seed.
    pub fn with_credentials(mut self, text: impl Into<String>) -> Self {
        self.credentials = Some(text.into());
        self
    }

    /// Sets the name of the stream. The default is [`DEFAULT_STREAM`](Self::DEFAULT_STREAM).
    ///
    /// The name has 1 to 64 ASCII letters, digits, `-` and `_`.
    /// [`NatsQueue::connect`](super::NatsQueue::connect) checks that. Gateways that share a queue
    /// use the same name.
    pub fn with_stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// Sets the number of servers that store each delivery, from 1 to 5. The default is 1.
    pub fn with_replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets the space of the stream in bytes, which it gets when it is created. By default only
    /// the limits of the account and of the servers apply.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets the largest body that must fit into a message.
    /// [`NatsQueue::connect`](super::NatsQueue::connect) refuses a server with a smaller limit.
    pub fn with_largest_body(mut self, bytes: u64) -> Self {
        self.largest_body = bytes;
        self
    }

    /// Sets the time limit of a call, which includes a second try. The default is
    /// [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT). It must be at least 100 ms.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns a description of the first invalid setting.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=64).contains(&self.stream.len()) || !self.stream.chars().all(is_name) {
            return Some("the name of the stream must have 1 to 64 ASCII letters, digits, - and _");
        }
        if !(1..=5).contains(&self.replicas) {
            return Some("the number of replicas must be 1 to 5");
        }
        if self
            .max_bytes
            .is_some_and(|bytes| i64::try_from(bytes).is_err())
        {
            return Some("the space of the stream must be less than 8 EiB");
        }
        if self.timeout < Duration::from_millis(100) {
            return Some("the timeout must be at least 100 ms");
        }
        None
    }
}

/// Writes the servers without their credentials.
impl fmt::Display for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Omits the credentials.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("target", &format_args!("{}", self.target))
            .field("stream", &self.stream)
            .field("replicas", &self.replicas)
            .field("max_bytes", &self.max_bytes)
            .field("largest_body", &self.largest_body)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
