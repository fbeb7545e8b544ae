//! [`DiskQueue`]: a queue in a SQLite file, for the processes of one machine.
//!
//! `DiskQueue` sends its calls to the `Writer` thread, which runs them in batches on `Table`. Two
//! `Reader` threads carry out the reads of the workers and of the operator. The
//! `Checkpointer` is a thread that syncs the file.

mod builder;
mod call;
mod clock;
mod content;
mod damaged_rows;
mod enqueue;
mod format;
mod limits;
mod operate;
mod reader;
mod row;
#[cfg(feature = "conformance")]
mod stored_records;
mod table;
mod usage;
mod work;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_sqlite::{OpenError, SpaceReserve};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

pub use self::builder::DiskQueueBuilder;
use self::call::{ByteBudget, Call, CallError, Operation, QueuedBytes, Ticket};
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub use self::clock::TestClock;
use self::limits::Limits;
use self::reader::Reader;
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub use self::stored_records::{Clocks, StoredRecords, StoredRow};
use self::table::Table;
use self::work::Settlement;
use self::writer::Command;
use crate::entry::{Entry, EntryId, EntryInfo, EntryLease, Failure, LeasedEntry, NewEntry};
use crate::error::{EnqueueError, QueueError};
use crate::store::{
    Changed, Due, Enqueued, EntryFilter, LeaseRequest, Page, QueueStats, QueueStore,
};

/// Stores deliveries in a SQLite file.
///
/// A thread of the queue writes simultaneous calls in one transaction. With
/// [`Durability::Process`](crate::Durability::Process), the default, the operating system has a
/// delivery before its sender is answered, so the delivery survives a crash and `kill -9` of the
/// process. If the machine loses power, the deliveries of about the last second can be lost. With
/// [`Durability::Power`](crate::Durability::Power) each batch waits for the disk.
///
/// Several processes of one machine can open the file, for example while one gateway takes over
/// from another. A folder on a network file system is refused.
///
/// # Time
///
/// Attempts are due, and leases end, by the boot clock of the machine. Steps of the system clock
/// change neither. After a reboot every lease has ended, and an entry waits for as long as it
/// still had to. The age of an entry counts by the system clock for the time that the machine
/// was off, up to a day: the system clock may be wrong around a reboot.
///
/// Leases also run while the machine is suspended. An attempt that a suspension interrupts continues
/// after it, so its delivery can be sent twice.
///
/// # Damage
///
/// When it is opened, the queue checks a file of up to 64 MiB completely. A larger file takes too
/// long for that, so the queue reads only the keys of its entries. Each entry has a checksum of
/// its facts and its bytes, which is compared when the entry is read. A damaged entry becomes a
/// dead letter with the failure [`Damaged`](crate::FailureKind::Damaged), and the log says what to
/// do; the other entries continue. So does an entry whose row is on a damaged page, but it cannot
/// be deleted.
///
/// # Backup and move
///
/// [`backup`](Self::backup) copies the file while it is used, and so does `sqlite3 queue.db
/// "VACUUM INTO 'copy.db'"`. A plain copy of a file in use is no backup, because the last writes
/// are in `queue.db-wal`. To restore a copy, put it as `queue.db` into an empty folder. Entries
/// that were delivered after the copy was made are then sent once more.
///
/// To move a queue to another machine, stop every process that uses the folder, and move the
/// folder with all of its files. On the new machine every lease has ended.
///
/// Cheap to clone; clones share the file.
#[derive(Clone)]
pub struct DiskQueue(Arc<Inner>);

struct Inner {
    /// `None` while the queue is dropped.
    commands: Option<mpsc::Sender<Command>>,
    queued_bytes: ByteBudget,
    /// Disconnected when the writer has ended.
    writer_ended: Mutex<std::sync::mpsc::Receiver<()>>,
    /// Reads for workers, which must not wait for a long list.
    work_reader: Reader,
    /// Reads for the operator.
    list_reader: Reader,
    changed: Arc<Notify>,
    path: PathBuf,
    limits: Limits,
    /// Tells how much the disk leaves to the queue.
    reserve: SpaceReserve,
    /// Dropping it ends the checkpointer.
    _alive: Arc<()>,
}

/// How long a call waits for the disk. Storing that takes longer has an unknown outcome.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a transaction waits for the lock while another process writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of dead letters that one transaction deletes.
const DEAD_PER_CALL: u32 = 512;

const TOO_MANY_WRITES: &str = "too many writes are waiting: the disk does not keep up";

const WRITER_ENDED: &str = "the thread that writes the queue has ended";

/// How long a queue that is dropped waits for its last transaction.
const END_TIMEOUT: Duration = Duration::from_secs(2);

impl DiskQueue {
    /// 10 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 10 << 30;

    /// 64 MiB: the space of a batch, and of a log before it is copied into the file. See
    /// [`DiskQueueBuilder::reserve`].
    pub const DEFAULT_RESERVE: u64 = 64 << 20;

    /// Returns the default of [`DiskQueueBuilder::max_bytes_per_source`]: half of `max_bytes`.
    pub const fn default_share(max_bytes: u64) -> u64 {
        max_bytes / 2
    }

    /// Opens the queue in the folder `path`, or creates it.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError`] if the folder cannot be created or written, or is on a network file
    /// system. Returns it too if the file is damaged, was written by another version, or is not
    /// a queue.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().open(path)
    }

    /// Creates a builder for a queue with other settings.
    pub fn builder() -> DiskQueueBuilder {
        DiskQueueBuilder::default()
    }

    /// Copies the queue into the new file `to` while it is used. Blocks until the copy is
    /// complete.
    ///
    /// The copy contains every entry that was stored before the call. Put it as `queue.db` into
    /// an empty folder to open it.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if `to` exists or cannot be written, or if the queue is damaged.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<(), QueueError> {
        let to = to.as_ref();
        hookgate_sqlite::create_private_file(to).map_err(QueueError::new)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let copy = || {
            let database = Connection::open_with_flags(&self.0.path, flags)?;
            database.busy_timeout(LOCK_TIMEOUT)?;
            let to = to
                .to_str()
                .ok_or(rusqlite::Error::InvalidPath(to.to_owned()))?;
            database.execute("VACUUM INTO ?1", [to])
        };
        copy().map_err(QueueError::new)?;
        Ok(())
    }

    /// Sends a call to the writer and waits for its reply.
    async fn call<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Table<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CallError> {
        self.call_or_undo(None, run, |_| None).await
    }

    /// Like [`call`](Self::call). `adds` are the bytes of a new delivery, and `undo` returns the
    /// operation that reverts the call if its caller has gone.
    async fn call_or_undo<T: Send + 'static>(
        &self,
        adds: Option<QueuedBytes>,
        run: impl FnMut(&mut Table<'_>) -> rusqlite::Result<T> + Send + 'static,
        undo: fn(T) -> Option<Box<dyn Operation>>,
    ) -> Result<T, CallError> {
        let ticket = Ticket::default();
        let (reply, replied) = oneshot::channel();
        let call = Call {
            ticket: Some(ticket.clone()),
            adds,
            run,
            result: None,
            reply,
            undo,
        };
        let sent = self.try_send(Command::Run(Box::new(call)));
        sent.map_err(|error| CallError::NotDone(QueueError::new(error)))?;
        match timeout(REPLY_TIMEOUT, replied).await {
            Ok(Ok(result)) => result.map_err(CallError::from),
            Ok(Err(_closed)) => Err(CallError::Unknown(QueueError::new(WRITER_ENDED))),
            Err(_elapsed) => {
                let error = slow_disk();
                Err(match ticket.take() {
                    true => CallError::NotDone(error),
                    false => CallError::Unknown(error),
                })
            }
        }
    }

    fn try_send(&self, command: Command) -> Result<(), &'static str> {
        let commands = self.0.commands.as_ref().ok_or(WRITER_ENDED)?;
        commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => TOO_MANY_WRITES,
            TrySendError::Closed(_) => WRITER_ENDED,
        })
    }

    /// Settles a lease, even if this call is dropped or takes too long. A late settlement is
    /// harmless, because its token decides whether it applies.
    async fn settle(
        &self,
        lease: &EntryLease,
        settlement: Settlement,
    ) -> Result<Changed, QueueError> {
        let lease = lease.clone();
        let (reply, replied) = oneshot::channel();
        let call = Call {
            ticket: None,
            adds: None,
            run: move |table: &mut Table<'_>| table.settle(&lease, settlement),
            result: None,
            reply,
            undo: |_| None,
        };
        let sent = self.try_send(Command::Run(Box::new(call)));
        sent.map_err(QueueError::new)?;
        match timeout(REPLY_TIMEOUT, replied).await {
            Ok(Ok(result)) => Ok(result.map_err(CallError::from)?),
            Ok(Err(_closed)) => Err(QueueError::new(WRITER_ENDED)),
            Err(_elapsed) => Err(slow_disk()),
        }
    }
}

impl QueueStore for DiskQueue {
    async fn enqueue(&self, entry: NewEntry) -> Result<Enqueued, EnqueueError> {
        let size = entry.envelope.len().saturating_add(entry.body.len());
        let Some(adds) = self.0.queued_bytes.take(size) else {
            return Err(EnqueueError::NotStored(QueueError::new(TOO_MANY_WRITES)));
        };
        let run = move |table: &mut Table<'_>| table.enqueue(&entry);
        match self.call_or_undo(Some(adds), run, |_| None).await {
            Ok(Ok(enqueued)) => Ok(enqueued),
            Ok(Err(no_space)) => Err(no_space.into()),
            Err(CallError::NoSpace(error)) => Err(EnqueueError::DiskFull(error)),
            Err(CallError::NotDone(error)) => Err(EnqueueError::NotStored(error)),
            Err(CallError::Unknown(error)) => Err(EnqueueError::Unknown(error)),
        }
    }

    fn confirm(&self, ids: &[EntryId]) {
        // If the writer does not keep up, the entries are confirmed at the next start.
        let _: Result<(), _> = self.try_send(Command::Confirm(ids.into()));
    }

    async fn unconfirmed(&self) -> Result<Vec<EntryInfo>, QueueError> {
        let reader = &self.0.list_reader;
        reader.read(LIST_TIMEOUT, |file| file.unconfirmed()).await
    }

    async fn due(&self, ordered: &[&str]) -> Result<Due, QueueError> {
        let reader = &self.0.work_reader;
        let ordered: Vec<Box<str>> = ordered.iter().map(|source| (*source).into()).collect();
        let due = reader.read(REPLY_TIMEOUT, move |file| file.due(&ordered));
        due.await
    }

    async fn lease(&self, request: LeaseRequest<'_>) -> Result<Vec<LeasedEntry>, QueueError> {
        let LeaseRequest {
            order, max, lease, ..
        } = request;
        let source: Box<str> = request.source.into();
        let leased = self.call_or_undo(
            None,
            move |table| table.lease(&source, order, max, lease),
            // Without the worker that asked for them, the entries would wait for the end of
            // their lease.
            |leased| (!leased.is_empty()).then(|| put_back_all(leased)),
        );
        Ok(leased.await?)
    }

    async fn renew(&self, lease: &EntryLease, duration: Duration) -> Result<Changed, QueueError> {
        let lease = lease.clone();
        Ok(self
            .call(move |table| table.renew(&lease, duration))
            .await?)
    }

    async fn complete(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        self.settle(lease, Settlement::Complete).await
    }

    async fn retry_later(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Failure,
    ) -> Result<Changed, QueueError> {
        self.settle(lease, Settlement::RetryLater(wait, failure))
            .await
    }

    async fn put_back(&self, lease: &EntryLease, wait: Duration) -> Result<Changed, QueueError> {
        self.settle(lease, Settlement::PutBack(wait)).await
    }

    async fn bury(&self, lease: &EntryLease, failure: Failure) -> Result<Changed, QueueError> {
        self.settle(lease, Settlement::Bury(failure)).await
    }

    async fn withdraw(&self, lease: &EntryLease) -> Result<Changed, QueueError> {
        let lease = lease.clone();
        Ok(self.call(move |table| table.withdraw(&lease)).await?)
    }

    async fn find_key(&self, key: ReplayKey) -> Result<Option<EntryInfo>, QueueError> {
        Ok(self.call(move |table| table.find_key(key)).await?)
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        let reader = &self.0.list_reader;
        reader.read(LIST_TIMEOUT, move |file| file.entry(id)).await
    }

    async fn list(&self, filter: &EntryFilter, page: Page) -> Result<Vec<EntryInfo>, QueueError> {
        let (reader, filter) = (&self.0.list_reader, filter.clone());
        reader
            .read(LIST_TIMEOUT, move |file| file.list(&filter, page))
            .await
    }

    async fn retry_now(&self, id: EntryId) -> Result<Changed, QueueError> {
        Ok(self.call(move |table| table.retry_now(id)).await?)
    }

    async fn delete(&self, id: EntryId) -> Result<Changed, QueueError> {
        Ok(self.call(move |table| table.delete(id)).await?)
    }

    async fn delete_dead(&self, age: Duration) -> Result<u64, QueueError> {
        let mut total = 0;
        loop {
            let call = self.call(move |table| table.delete_dead(age, DEAD_PER_CALL));
            match call.await? {
                0 => return Ok(total),
                deleted => total += deleted,
            }
        }
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        let (reader, max_bytes) = (&self.0.list_reader, self.0.limits.max_bytes);
        let reserve = self.0.reserve.clone();
        reader
            .read(LIST_TIMEOUT, move |file| file.stats(max_bytes, &reserve))
            .await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed.notified()
    }
}

fn slow_disk() -> QueueError {
    QueueError::new(format!("the disk took longer than {REPLY_TIMEOUT:?}"))
}

/// Returns the operation that makes leased entries wait again, as if they had not been leased.
fn put_back_all(leased: Vec<LeasedEntry>) -> Box<dyn Operation> {
    let (reply, _) = oneshot::channel();
    Box::new(Call {
        ticket: None,
        adds: None,
        run: move |table: &mut Table<'_>| {
            let put_back = Settlement::PutBack(Duration::ZERO);
            for entry in &leased {
                table.settle(&entry.lease, put_back)?;
            }
            Ok(())
        },
        result: None,
        reply,
        undo: |()| None,
    })
}

impl Drop for Inner {
    /// Waits until the writer has written every command.
    fn drop(&mut self) {
        self.commands = None;
        let _: Result<(), _> = self.writer_ended.get_mut().recv_timeout(END_TIMEOUT);
    }
}

impl fmt::Debug for DiskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskQueue")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
