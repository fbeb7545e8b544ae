//! [`RedisConfig`]: which server a store uses, and how.

use std::fmt;
use std::time::Duration;

use hookgate_core::ReplayKey;

use super::url::{RedisUrlError, Target, Topology};

/// The server of a [`RedisStore`](super::RedisStore), and how the store uses it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    pub(super) target: Target,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) replicas: Option<WaitReplicas>,
}

/// The number of replicas that must have a claim before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitReplicas {
    /// The minimum number of replicas.
    pub replicas: u32,
    /// How long to wait for them, in addition to the time of the claim itself. At most half
    /// of the store's timeout, because other commands wait on the same connection.
    pub timeout: Duration,
}

impl WaitReplicas {
    /// Waits up to `timeout` for at least `replicas` replicas.
    pub const fn new(replicas: u32, timeout: Duration) -> Self {
        Self { replicas, timeout }
    }
}

impl RedisConfig {
    /// The default time limit of a claim or a settlement: 500 ms.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);

    /// The default prefix of all keys: `hookgate`.
    pub const DEFAULT_PREFIX: &str = "hookgate";

    /// Creates a configuration for the server at `url`. The [module](super) lists the forms
    /// of the URL.
    ///
    /// # Errors
    ///
    /// Returns [`RedisUrlError`] if the URL has none of these forms.
    pub fn new(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self {
            target: Target::parse(url)?,
            ca_pem: None,
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            timeout: Self::DEFAULT_TIMEOUT,
            replicas: None,
        })
    }

    /// Trusts the certificates in this PEM text instead of the system's certificates, if the
    /// URL asks for TLS.
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Sets the prefix of all keys, which stands before `:{…}…`. The default is
    /// [`DEFAULT_PREFIX`](Self::DEFAULT_PREFIX).
    ///
    /// The prefix must not be empty and must not contain a brace.
    /// [`RedisStore::connect`](super::RedisStore::connect) checks that.
    ///
    /// Gates that share events must use the same prefix. Other gates on the same server must
    /// use a different one. The store publishes settlements on the channel `PREFIX:settled`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time limit of a claim or a settlement, which includes a second try. The
    /// default is [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT).
    ///
    /// The limit must be at least 10 ms. [`RedisStore::connect`](super::RedisStore::connect)
    /// checks that.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes each claim and settlement wait until replicas have it. By default none waits.
    ///
    /// The wait needs at least one replica and at least 1 ms, and is not supported on a
    /// cluster. [`RedisStore::connect`](super::RedisStore::connect) checks that.
    pub fn with_wait_replicas(mut self, wait: WaitReplicas) -> Self {
        self.replicas = Some(wait);
        self
    }

    /// Returns the server's key for an event. All events whose replay key begins with the same
    /// byte are in the same slot of a cluster.
    pub(super) fn key(&self, key: ReplayKey) -> String {
        let (first_byte, rest) = key.as_bytes().split_at(1);
        let rest = hex::encode(rest);
        format!("{}:{{{}}}{rest}", self.prefix, hex::encode(first_byte))
    }

    /// Returns the server's key for the forgotten events whose replay key begins with
    /// `first_byte`. It is in the same slot of a cluster as these events.
    pub(super) fn forgotten_key(&self, first_byte: u8) -> String {
        format!("{}:{{{first_byte:02x}}}forgotten", self.prefix)
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:settled", self.prefix)
    }

    /// Returns a description of the first invalid setting.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_cluster = matches!(self.target.topology, Topology::Cluster(_));
        if self.timeout < Duration::from_millis(10) {
            return Some("the timeout must be at least 10 ms");
        }
        // A cluster hashes the text in the first pair of braces. A brace in the prefix would
        // put all keys into one slot.
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return Some("the prefix must not be empty and must not contain a brace");
        }
        match self.replicas {
            Some(_) if is_cluster => Some(
                "waiting for replicas is not supported on a cluster, because a command can take \
                 another connection than the previous one",
            ),
            Some(wait) if wait.replicas == 0 || wait.timeout.as_millis() == 0 => {
                Some("waiting for replicas needs at least one replica and at least 1 ms")
            }
            Some(wait) if wait.timeout > self.timeout / 2 => {
                Some("the wait for replicas must not exceed half of the timeout")
            }
            _ => None,
        }
    }
}

/// Writes the server without its credentials.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Omits the credentials.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("target", &format_args!("{}", self.target))
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
