//! A queue that several gateways share, in NATS JetStream.
//!
//! # URLs
//!
//! | URL | servers |
//! |---|---|
//! | `nats://[USER:PASSWORD@]HOST[:PORT][,HOST:PORT…]` | the servers of one cluster |
//! | `nats://TOKEN@HOST[:PORT]` | the same, with a token |
//! | `tls://…` | the same, over TLS |
//!
//! User, password and token are percent-encoded. [`NatsConfig::with_credentials`] takes a
//! credentials file. The servers need version 2.9 or newer with JetStream. The tests run with 2.9.10
//! and 2.15.0.
//!
//! # Streams
//!
//! | stream | contents | subjects |
//! |---|---|---|
//! | `NAME` | the entries that wait or are in flight; work-queue retention, discards new messages when it is full | `NAME.SOURCE.KEY` |
//! | `NAME-dead` | the dead letters | `NAME-dead.SOURCE.KEY.NUMBER` |
//! | `NAME-state` | attempts, last failure and due time of entries that were tried; where the other keys of a batch and the keys of dead letters lead to | `NAME-state.entry.NUMBER`, `NAME-state.key.KEY`, `NAME-state.clock` |
//!
//! `SOURCE` is the name of the source, with `=XX` for each byte that no subject may have. `KEY` is
//! the first replay key. The queue creates streams that are missing, and refuses streams that
//! could lose an entry. Each source has a durable pull consumer on the stream `NAME`.
//!
//! # What holds
//!
//! * **An entry is stored when the server has acknowledged it.** With one replica it is in the
//!   file of one server, which by default syncs it to the disk within two minutes
//!   (`sync_interval`): a killed server keeps it, and a lost machine does not. With three replicas
//!   two servers have it.
//! * **An event is stored once.** The server refuses a second message with the subject of an
//!   entry. A message that is sent again because its answer was lost has the same message id. If no
//!   answer comes, the outcome is [`EnqueueError::Unknown`]; a later delivery of the event finds the
//!   entry, if there is one. So a crash before the claim is recorded as done needs no list of
//!   unconfirmed entries. The keys of a batch and of dead letters are looked up before the entry is
//!   stored, in a step of their own; the claim in the replay store excludes a second delivery
//!   meanwhile.
//! * **A lease is the `ack_wait` of the consumer.** This process settles a failed delivery only
//!   before the lease ends by its own clock. The server does not check who acknowledges, so a
//!   message that the network delays beyond the lease can make an entry due while another worker
//!   has it: the event is then sent once more. A completed delivery is removed even after the end of
//!   its lease.
//! * **A worker that is lost counts as one attempt.** So does a message that the server sent and
//!   no worker received.
//! * **Nothing leaves the queue before its successor is stored.** A dead letter is stored before
//!   the entry is removed, and the other way round after a retry. A crash in between leaves both. The
//!   next worker removes the entry of a dead letter without sending it.
//! * **A retried dead letter is a new entry with a new number.** With [`Order::Source`] it goes to
//!   the end.
//! * **Times are the server's.** The queue reads its clock every 30 seconds and uses the
//!   monotonic clock in between, so steps of the gateway's clock change nothing. The clock of a
//!   server must not jump.
//!
//! # What does not hold
//!
//! * A single server that is killed can forget acknowledgements of its last moments. These entries
//!   are sent once more.
//! * The state of an entry that another process has leased for the first time is
//!   [`InFlight`](crate::EntryState::InFlight) until it is leased again, even after that process was
//!   lost. A later attempt of another process is shown as waiting.
//! * [`NewEntry::lease_if_first`](crate::NewEntry::lease_if_first) leases nothing.
//! * The size of a source is estimated from the average size of all entries, and has no limit.
//!
//! # Failures
//!
//! The first connection must succeed. Later the client reconnects all the time, and calls fail at
//! once while the connection is down. If the stream is deleted, every call fails with an error
//! that says so. The queue does not create it again before the process is restarted, because the
//! entries in it are lost. Each stream has consumers of its own, so an acknowledgement for a
//! deleted stream removes nothing from its successor.
//!
//! [`EnqueueError::Unknown`]: crate::EnqueueError::Unknown
//! [`Order::Source`]: crate::Order::Source

mod browse;
mod clock;
mod config;
mod connect;
mod enqueue;
mod error;
mod lease;
mod leases;
mod message;
mod names;
mod operate;
mod pull;
mod server;
mod state;
mod stats;
mod store;
#[cfg(feature = "conformance")]
mod stored_message;
mod streams;
mod url;

use std::time::Duration;

pub use self::config::NatsConfig;
pub use self::error::NatsConnectError;
pub use self::store::NatsQueue;
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub use self::stored_message::StoredMessage;
pub use self::url::NatsUrlError;

/// How long the server recognises a message that is sent again.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The space in a message for everything except the body.
const ENVELOPE_SPACE: u64 = 256 * 1024;
