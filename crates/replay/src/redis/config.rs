use std::fmt;
use std::time::Duration;

use hookgate_core::ReplayKey;

use super::url::{RedisUrlError, Target};

/// Which server a [`RedisStore`](super::RedisStore) uses, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    pub(super) target: Target,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) replicas: Option<WaitReplicas>,
}

/// How many replicas must have a claim before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitReplicas {
    /// At least so many replicas.
    pub replicas: u32,
    /// For so long, on top of the time for the claim itself. At most half of
    /// that: commands of others wait behind it.
    pub timeout: Duration,
}

impl WaitReplicas {
    /// Waits up to `timeout` for at least `replicas` replicas.
    pub const fn new(replicas: u32, timeout: Duration) -> Self {
        Self { replicas, timeout }
    }
}

impl RedisConfig {
    /// 500 ms.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);

    /// `hookgate`.
    pub const DEFAULT_PREFIX: &str = "hookgate";

    /// The server at `url`; the [module](super) says which forms there are.
    ///
    /// # Errors
    ///
    /// The URL has none of those forms.
    pub fn new(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self {
            target: Target::parse(url)?,
            ca_pem: None,
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            timeout: Self::DEFAULT_TIMEOUT,
            replicas: None,
        })
    }

    /// Trusts the certificates in this PEM text instead of the system's, where
    /// the URL asks for TLS.
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// What the keys begin with, before `:{…}…`. Gates that share events must
    /// have the same, others on the same server different ones. The channel is
    /// `PREFIX:settled`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a claim or a settlement may take in all, a second try included.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Waits until replicas have what was claimed or settled.
    pub fn with_wait_replicas(mut self, wait: WaitReplicas) -> Self {
        self.replicas = Some(wait);
        self
    }

    /// What the server calls the event. All whose key begins with the same byte are in
    /// one slot of a cluster.
    pub(super) fn key(&self, key: ReplayKey) -> String {
        let (slot, rest) = key.as_bytes().split_at(1);
        let rest = hex::encode(rest);
        format!("{}:{{{}}}{rest}", self.prefix, hex::encode(slot))
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:settled", self.prefix)
    }

    /// What cannot work, in words.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let cluster = matches!(self.target.topology, super::url::Topology::Cluster(_));
        if self.timeout < Duration::from_millis(10) {
            return Some("the time-out is shorter than 10 ms");
        }
        // A brace before the key's own would choose one slot for all keys.
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return Some("the prefix is empty or has a brace in it");
        }
        match self.replicas {
            Some(_) if cluster => Some(
                "to wait for replicas is not supported on a cluster, where a command may \
                 take another connection than the one before it",
            ),
            Some(wait) if wait.replicas == 0 || wait.timeout.as_millis() == 0 => {
                Some("to wait for replicas, name at least one and at least 1 ms")
            }
            Some(wait) if wait.timeout > self.timeout / 2 => {
                Some("the wait for replicas is longer than half of the time-out")
            }
            _ => None,
        }
    }
}

/// The server, without credentials.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Without credentials.
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
