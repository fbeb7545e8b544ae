//! Replay protection that several gates share, in Redis or Valkey.
//!
//! # Which URL
//!
//! | URL | what it is |
//! |---|---|
//! | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
//! | `rediss://…` | one server, over TLS |
//! | `unix:///PATH[?db=DB]` | one server on this machine |
//! | `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DB]` | the server that these sentinels call the master `MASTER`; the credentials are the servers', the sentinels are asked without |
//! | `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…` | the cluster to which these nodes belong |
//!
//! `rediss+sentinel` and `rediss+cluster` are the same over TLS. User and password
//! are percent-encoded. Valkey, which began as a copy of Redis 7.2, works the same;
//! `valkey://` and `valkeys://` are other names for the first two.
//!
//! # Which server
//!
//! Redis 7.0, Valkey 7.2 or newer: older ones refuse to settle a claim when their
//! memory is full. `maxmemory-policy` must be `noeviction`: every other one forgets
//! keys when memory is full, and whoever can fill it gets a replay through. Both are
//! checked whenever the store connects; of a cluster, on every master, at start.
//! A server whose memory is full answers new claims with [`Claim::Full`], and goes
//! on settling. An event takes about 200 bytes (Redis 7.0, 192 000 done).
//!
//! Time is the server's. Its clock must not jump, and that of a replica that becomes the
//! master must not be another by a second or more.
//!
//! # What is still known after a failure
//!
//! | set up | after the server was killed | after the machine was lost |
//! |---|---|---|
//! | default (snapshots) | what the last snapshot has, up to an hour old: **replays pass** unless a gate [notices](#when-the-server-has-lost-its-data) | nothing, or likewise |
//! | `appendonly yes`, `appendfsync everysec` (its default) | everything | all but the last second or two |
//! | `appendonly yes`, `appendfsync always` | everything | everything on its disk |
//!
//! Replication is asynchronous. When a sentinel or a cluster makes a replica the
//! master, the last writes, usually less than a second of them, are gone: an event
//! that was claimed or done in that time can be granted once more. With
//! [`WaitReplicas`] a claim counts only when that many replicas have it, which makes
//! this rare, not impossible: the replica with most data wins, but not by a promise.
//! If what was done is among what is gone, the gate that committed it notices.
//!
//! # When the server has lost its data
//!
//! `FLUSHALL`, or a start without its data, would let every replay pass. So there are 256
//! entries more, `PREFIX:{00}since` to `PREFIX:{ff}since`, without a time to live, one
//! for the events of each first byte, in the same slot of a cluster. Each has the time,
//! in seconds since the Unix epoch by the clock of the gate that wrote it, since when the
//! events are remembered. Claims look at theirs in the same step. Whoever finds it gone
//! writes a new one, logs an error, and what was signed before ([`ClaimOptions::signed`]) is
//! answered [`Claim::Forgotten`], to all gates alike. A server that is new is no
//! different: nobody can tell that it was not emptied a moment ago.
//!
//! Data that is older than it was, of a snapshot or of a replica that lagged behind, has
//! those entries. So each gate keeps witnesses, in its own memory: the event of each first
//! byte that it committed last, with what the server has of it and until when. What is
//! lost is what was written last, the witness before all else. Claims look at theirs in
//! the same step, and a gate that has connected again looks at all of them before it
//! claims. If one is gone before its time, the whole server is taken to remember only
//! since now; of a cluster, the events of that first byte. That costs no write, and one
//! look more a claim.
//!
//! Not noticed:
//!
//! * That data is older, if no gate is left that committed anything of what is gone: all
//!   were started again together with the server.
//! * What others grant before such a gate has connected again, which takes it a second or
//!   two, as it looks at its connection each second; with a cluster, which looks after its
//!   connections by itself, before it claims another event of the same first byte as any
//!   that is gone, and commits none before.
//! * That events in flight are gone, if no event is that was done. They may be delivered
//!   once more, as after the end of a lease.
//! * That an event is gone which is remembered for longer than those that were committed
//!   after it, when those are due to be forgotten. By then it is outside the window, if the
//!   windows of all sources are about the same.
//! * Keys that were removed one by one. If a witness is among them, the data is taken for
//!   older.
//!
//! # When the server is gone
//!
//! Every claim and settlement has a time-out, 500 ms unless configured, and fails at
//! once while the server is known to be gone. Each claim writes a random token. One
//! whose answer was lost is asked for again with the same token, and recognises
//! itself; if that fails too it is an error, and what it may have left is given back
//! when the server is there again. A new connection is tried for all the time.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use hookgate_replay::{RedisConfig, RedisStore};
//!
//! assert!(RedisConfig::new("http://cache:6379").is_err());
//! let config = RedisConfig::new("redis://cache:6379/0")?.with_prefix("payments");
//! let store = RedisStore::connect(config).await?;
//! # Ok(())
//! # }
//! ```

mod bells;
mod call;
mod check;
mod config;
mod give_back;
mod link;
mod script;
mod since;
mod url;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hookgate_core::ReplayKey;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::bells::Bells;
use self::call::Call;
pub use self::config::{RedisConfig, WaitReplicas};
use self::give_back::GiveBack;
use self::link::{Conn, Link};
use self::script::{Answer, CLAIM, SETTLE};
use self::since::Memory;
pub use self::url::RedisUrlError;
use self::wire::Wire;
use crate::notifier::RECHECK_INTERVAL;
use crate::store::{Claim, ClaimOptions, Lease, ReplayStore, Settled, StoreError};

/// Remembers events in Redis or Valkey, for all gates that use the same server.
///
/// Cheap to clone; clones share the connection. The [module](self) says what is
/// promised by which set-up. Does not count by source ([`ClaimOptions::quota`]).
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    config: Arc<RedisConfig>,
    link: Link,
    bells: Arc<Bells>,
    listener: AbortHandle,
    give_back: Arc<Semaphore>,
    memory: Arc<Memory>,
}

impl RedisStore {
    /// Connects, from within a tokio runtime, and checks the server.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, is too old, is no master, or would forget
    /// claims. The text says what to change.
    pub async fn connect(config: RedisConfig) -> Result<Self, StoreError> {
        Self::connect_with_clock_shift(config, Arc::default()).await
    }

    /// A store whose clock is ahead of the server's by so many milliseconds, for
    /// the suite in `conformance`.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    #[doc(hidden)]
    pub async fn connect_with_clock_shift(
        config: RedisConfig,
        shift: Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        if let Some(contradiction) = config.contradiction() {
            return Err(StoreError::new(contradiction));
        }
        let config = Arc::new(config);
        let memory = Arc::new(Memory::new(Arc::clone(&config), shift));
        let link = Link::open(Arc::clone(&config), Arc::clone(&memory)).await?;
        let bells = Arc::new(Bells::new());
        let listener = bells::listen(Arc::clone(&bells), Arc::clone(&config));
        let listener = tokio::spawn(listener).abort_handle();
        Ok(Self(Arc::new(Inner {
            config,
            link,
            bells,
            listener,
            give_back: Arc::new(Semaphore::new(GiveBack::PLACES)),
            memory,
        })))
    }

    /// What [`SETTLE`] is told; without a retention the claim is given back.
    fn settlement(
        &self,
        key: ReplayKey,
        token: &str,
        retention: Option<Duration>,
        again: bool,
    ) -> Vec<String> {
        vec![
            token.to_owned(),
            retention.map_or_else(|| "-1".to_owned(), millis),
            self.0.memory.shift(),
            u8::from(again).to_string(),
            self.0.config.channel(),
            hex::encode(key.as_bytes()),
        ]
    }

    async fn settle(
        &self,
        lease: &Lease,
        retention: Option<Duration>,
    ) -> Result<Settled, StoreError> {
        let (key, token) = (self.0.config.key(lease.key()), token_text(lease.token()));
        let call = Call {
            script: &SETTLE,
            keys: &[&key],
            token: &token,
            arguments: &|again| self.settlement(lease.key(), &token, retention, again),
            timeout: self.0.config.timeout,
        };
        let (answer, conn) = call.run(&self.0.link, &mut Vec::new()).await?;
        match answer {
            Answer::Committed(entry) => self.0.memory.committed(lease.key(), entry),
            Answer::Released => {}
            Answer::Stale => return Ok(Settled::Stale),
            answer => return Err(unexpected(answer)),
        }
        self.0.bells.ring(lease.key());
        self.replicated(conn).await?;
        Ok(Settled::Applied)
    }

    /// Waits until as many replicas as configured have what went over `conn`.
    async fn replicated(&self, mut conn: Conn) -> Result<(), StoreError> {
        let Some(wait) = self.0.config.replicas else {
            return Ok(());
        };
        let mut command = ::redis::cmd("WAIT");
        command.arg(wait.replicas).arg(millis(wait.timeout));
        let patience = wait.timeout + self.0.config.timeout / 2;
        let answer = match timeout(patience, conn.wire.ask(&command)).await {
            Ok(answer) => answer.map_err(StoreError::new)?,
            Err(_) => {
                self.0.link.lost(&conn);
                return Err(StoreError::new("no answer to WAIT"));
            }
        };
        let have: u32 = ::redis::from_redis_value(answer).map_err(StoreError::new)?;
        match have >= wait.replicas {
            true => Ok(()),
            false => Err(StoreError::new(format!(
                "{have} replicas have it within {:?}; expected {}",
                wait.timeout, wait.replicas
            ))),
        }
    }
}

impl ReplayStore for RedisStore {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let number = getrandom::u64().map_err(StoreError::new)?;
        let (name, token) = (self.0.config.key(key), token_text(number));
        // What it would be if it were granted.
        let lease = Lease::new(key, number, 1);
        let mut give_back = GiveBack::new(self, lease, options.lease);
        let (lease, memory) = (millis(options.lease), millis(options.attempt_retention));
        let content = options.content_checksum.map(|content| content.to_string());
        let content = content.unwrap_or_default();
        let signed = options.signed_at.map(|signed| signed.secs().to_string());
        let signed = signed.unwrap_or_default();
        let evidence = self.0.memory.evidence(key.as_bytes()[0]);
        let keys = [&name].into_iter().chain(&evidence.keys);
        let keys: Vec<&str> = keys.map(String::as_str).collect();
        let call = Call {
            script: &CLAIM,
            keys: &keys,
            token: &token,
            arguments: &|_| {
                let mut arguments = vec![
                    token.clone(),
                    lease.clone(),
                    memory.clone(),
                    self.0.memory.shift(),
                    content.clone(),
                    signed.clone(),
                ];
                arguments.extend_from_slice(&evidence.arguments);
                arguments
            },
            timeout: self.0.config.timeout,
        };
        let (mut answer, mut conn) = call.run(&self.0.link, &mut give_back.sent).await?;
        if answer == Answer::Lost {
            match &conn.wire {
                // Whoever connects looks at all slots, once for all claims.
                Wire::Node(_) => self.0.link.lost(&conn),
                Wire::Cluster(_) => {
                    let first = key.as_bytes()[0];
                    if self.0.memory.look_again(&conn.wire, first).await? == Answer::Lost {
                        self.0.memory.cry_loss();
                    }
                }
            }
            give_back.refused();
            (answer, conn) = call.run(&self.0.link, &mut give_back.sent).await?;
        }
        let claim = match answer {
            Answer::Granted(attempt) => {
                self.replicated(conn).await?;
                give_back.granted();
                return Ok(Claim::Granted(Lease::new(key, number, attempt)));
            }
            Answer::InFlight(remaining) => Claim::InFlight { remaining },
            Answer::Done => Claim::Done,
            Answer::Conflict => Claim::Conflict,
            Answer::Full => Claim::Full,
            Answer::Forgotten => Claim::Forgotten,
            Answer::Lost => {
                return Err(StoreError::new(
                    "the server forgets at once what it is told: it evicts, or somebody empties \
                     it; maxmemory-policy has to be noeviction",
                ));
            }
            answer => return Err(unexpected(answer)),
        };
        give_back.refused();
        Ok(claim)
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        self.settle(lease, Some(retention)).await
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        self.settle(lease, None).await
    }

    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        let rings = self.0.bells.wait(key);
        let look_again = Instant::now() + RECHECK_INTERVAL;
        async move {
            let _ = timeout_at(look_again, rings).await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Without credentials.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("config", &self.0.config)
            .field("connected", &self.0.link.is_up())
            .finish_non_exhaustive()
    }
}

fn token_text(token: u64) -> String {
    format!("{token:016x}")
}

/// Ten years are as good as for ever, and do not overflow. Rounded up: what must
/// not be forgotten early is kept.
fn millis(duration: Duration) -> String {
    const EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let nanos = duration.min(EVER).as_nanos();
    nanos.div_ceil(1_000_000).to_string()
}

fn unexpected(answer: Answer) -> StoreError {
    match answer {
        Answer::Foreign => StoreError::new(
            "under the key of the event is data that is not hookgate's, or is of a newer \
             version; use a prefix or a database of its own",
        ),
        answer => StoreError::new(format!(
            "the server answered {answer:?}, which was not asked"
        )),
    }
}
