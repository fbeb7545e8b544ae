//! Replay protection that several gates share, in Redis or Valkey.
//!
//! # URLs
//!
//! | URL | server |
//! |---|---|
//! | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one server |
//! | `rediss://…` | one server, over TLS |
//! | `unix:///PATH[?db=DB]` | one server on this machine |
//! | `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DB]` | the server that the sentinels report for the name `MASTER`; the credentials are for the servers, and the sentinels are queried without credentials |
//! | `redis+cluster://[USER:PASSWORD@]HOST[:PORT],…` | the cluster of these nodes |
//!
//! `rediss+sentinel` and `rediss+cluster` use TLS. User and password are percent-encoded.
//! Valkey, a fork of Redis 7.2, works the same; `valkey://` and `valkeys://` are other names
//! for the first two forms.
//!
//! # Requirements
//!
//! The server must be Redis 7.0, Valkey 7.2 or newer. Older versions refuse to settle a claim
//! when their memory is full. `maxmemory-policy` must be `noeviction`. Every other policy
//! evicts keys when memory is full, and an attacker who fills the memory gets a replay
//! accepted. The store checks both whenever it connects; in a cluster it checks every master
//! at the start. A full server answers new claims with [`Claim::Full`] and still settles
//! claims. An event takes about 200 bytes (measured with Redis 7.0 and 192 000 done events).
//!
//! All times are the server's. Its clock must not jump. The clock of a replica must not differ
//! by a second or more from that of the master that it replaces.
//!
//! # Persistence
//!
//! | configuration | after the server was killed | after the machine was lost |
//! |---|---|---|
//! | default (snapshots) | the last snapshot is left, up to an hour old: **replays pass** unless a gate [notices the loss](#lost-data) | no event or the last snapshot is left |
//! | `appendonly yes`, `appendfsync everysec` (its default) | all events are left, unless a slow disk had delayed the last second or two | all but the last second or two are left |
//! | `appendonly yes`, `appendfsync always` | all events are left | all events on its disk are left |
//!
//! Replication is asynchronous. When a sentinel or a cluster promotes a replica, the writes of
//! the last moments are lost, usually less than a second. An event that was claimed or
//! committed in that time can be granted once more. With [`WaitReplicas`] a claim counts only
//! when that many replicas have it. This makes the loss rare but not impossible: sentinels and
//! clusters prefer the replica with the most data, without a guarantee. The gate that
//! committed a lost event notices the loss.
//!
//! # Lost data
//!
//! After `FLUSHALL`, or a start without its data, a server would let every replay pass. So the
//! store keeps 256 more entries, `PREFIX:{00}since` to `PREFIX:{ff}since`, without a time to
//! live. There is one for each first byte of a replay key, in the same slot of a cluster as
//! the events with that first byte. It contains the *epoch*: the time since when the server
//! has remembered every event, in seconds since the Unix epoch by the clock of the gate that
//! wrote it. A claim reads it in the same atomic step. A gate that finds no epoch writes a new
//! one and logs an error. A delivery that was signed before the epoch
//! ([`ClaimOptions::signed_at`]) gets [`Claim::Forgotten`], at every gate. A new server is
//! treated the same, because the store cannot distinguish it from an emptied server.
//!
//! A server that has come back with older data, from a snapshot or a replica that lagged
//! behind, still has its epochs. So each gate keeps witnesses in its own memory: for each
//! first byte the event that it committed last, with the server's entry and its end. The loss
//! affects the last writes, so the witness is lost before all earlier events. A claim checks
//! its witness in the same step, and a gate that reconnects checks all witnesses before its
//! next claim. If a witness is missing before its end, the epoch of the whole server moves to
//! the present; in a cluster, the epoch of that first byte. The check costs no write and one
//! more read a claim.
//!
//! An operator can [forget](crate::ReplayStore::forget) an event, which may be the witness of any
//! gate. The server keeps the value of a forgotten event in `PREFIX:{XX}forgotten`, until the
//! event's retention would have ended. A witness that is among these values is not missing. A user
//! with an access list needs `+zadd`, `+zscore`, `+zrange`, `+zremrangebyscore` and `+pexpire`
//! for it.
//!
//! The store does not notice these losses:
//!
//! * The server has older data, and no gate is left that committed a lost event, because all
//!   gates were restarted together with the server.
//! * Another gate claims before the gate with the witness has reconnected. That takes a second
//!   or two, because a gate checks its connection every second. A cluster connection reconnects
//!   by itself, and the gate then notices the loss at its next claim of an event with the same
//!   first byte as a lost one. If the gate commits such an event before that claim, the commit
//!   replaces the witness, and the loss stays unnoticed.
//! * Events in flight are lost, but no done event is. They may be delivered once more, as
//!   after the end of their lease.
//! * An event with a long retention is lost, and the events committed after it had shorter
//!   retentions that have ended. By then the lost event is outside of its window, if the
//!   windows of all sources are about equal.
//! * Single keys were removed by another client. If a witness is among them, the store treats
//!   the data as older.
//!
//! # Unreachable servers
//!
//! Every claim and settlement has a timeout, 500 ms by default. It fails at once while the
//! server is known to be unreachable. Each claim writes a random token. If its reply is lost,
//! the store repeats the claim with the same token, which the server recognises. If that fails
//! too, the claim returns an error, and the store releases the claim when it reaches the server
//! again. The store tries to reconnect all the time.
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
//!
//! [`Claim::Full`]: crate::Claim::Full
//! [`Claim::Forgotten`]: crate::Claim::Forgotten
//! [`ClaimOptions::signed_at`]: crate::ClaimOptions::signed_at

mod call;
mod config;
mod connect;
mod connection;
mod connection_keeper;
mod data_loss;
mod error;
#[cfg(feature = "test-util")]
mod forget_all;
mod pending_claim;
#[cfg(feature = "test-util")]
mod replies;
mod script;
mod server;
mod server_check;
mod store;
mod subscriber;
mod url;

pub use self::config::{RedisConfig, WaitReplicas};
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub use self::replies::{claim, is_suitable};
pub use self::store::RedisStore;
pub use self::url::RedisUrlError;
