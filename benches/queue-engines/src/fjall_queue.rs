//! fjall with the same tables as `DiskQueue`, and the same group commit.

use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{mpsc, oneshot};

use crate::engine::{BODY, ENVELOPE, Engine, Survives, TAKEN, key};

#[derive(Clone)]
pub struct FjallQueue(Arc<Inner>);

struct Inner {
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

enum Command {
    Store(u64, oneshot::Sender<()>),
    Lease(oneshot::Sender<Vec<u64>>),
    Complete(u64, oneshot::Sender<()>),
}

struct Writer {
    database: Database,
    /// The entry of a key.
    keys: Keyspace,
    /// The facts of an entry.
    entries: Keyspace,
    contents: Keyspace,
    /// The waiting entries by the time at which they are due.
    due: Keyspace,
    mode: PersistMode,
    next: u64,
}

/// The facts of an entry take about as many bytes as its row in SQLite.
const FACTS: [u8; 120] = [b'f'; 120];

impl Writer {
    fn open(folder: &Path, survives: Survives) -> Self {
        let database = Database::builder(folder).open().expect("the files are opened");
        let keyspace = |name| {
            let opened = database.keyspace(name, KeyspaceCreateOptions::default);
            opened.expect("the keyspace is opened")
        };
        let due = keyspace("due");
        let last = due.iter().next_back().and_then(|entry| entry.key().ok());
        let last = last.map_or(0, |key| number(&key));
        Self {
            keys: keyspace("keys"),
            entries: keyspace("entries"),
            contents: keyspace("contents"),
            due,
            database,
            mode: match survives {
                Survives::Process => PersistMode::Buffer,
                Survives::Power => PersistMode::SyncData,
            },
            next: last + 1,
        }
    }

    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("the runtime starts");
        while runtime.block_on(commands.recv_many(&mut batch, 256)) > 0 {
            self.write(std::mem::take(&mut batch));
        }
    }

    fn write(&mut self, commands: Vec<Command>) {
        let mut batch = self.database.batch().durability(Some(self.mode));
        let mut replies: Vec<Box<dyn FnOnce()>> = Vec::new();
        for command in commands {
            match command {
                Command::Store(number, reply) => {
                    let key = key(number);
                    let known = self.keys.get(key).expect("the file is read");
                    assert!(known.is_none(), "{number} is new");
                    let id = self.next.to_be_bytes();
                    self.next += 1;
                    batch.insert(&self.keys, key, id);
                    batch.insert(&self.entries, id, [&key[..], &FACTS].concat());
                    batch.insert(&self.contents, id, [&ENVELOPE[..], &BODY].concat());
                    batch.insert(&self.due, id, []);
                    replies.push(Box::new(|| reply.send(()).unwrap_or_default()));
                }
                Command::Lease(reply) => {
                    let due = self.due.iter().take(TAKEN);
                    let ids: Vec<u64> = due
                        .map(|entry| number(&entry.key().expect("the file is read")))
                        .collect();
                    for id in &ids {
                        let id = id.to_be_bytes();
                        let facts = self.entries.get(id).expect("the file is read");
                        let content = self.contents.get(id).expect("the file is read");
                        assert!(content.is_some());
                        batch.remove(&self.due, id);
                        batch.insert(&self.entries, id, facts.expect("the entry exists"));
                    }
                    replies.push(Box::new(|| drop(reply.send(ids))));
                }
                Command::Complete(id, reply) => {
                    let id = id.to_be_bytes();
                    let facts = self.entries.get(id).expect("the file is read");
                    let facts = facts.expect("the entry exists");
                    batch.remove(&self.keys, &facts[..16]);
                    batch.remove(&self.entries, id);
                    batch.remove(&self.contents, id);
                    replies.push(Box::new(|| reply.send(()).unwrap_or_default()));
                }
            }
        }
        batch.commit().expect("the batch is written");
        replies.into_iter().for_each(|reply| reply());
    }
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.try_into().expect("a key of eight bytes"))
}

impl FjallQueue {
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, replied) = oneshot::channel();
        let commands = self.0.commands.as_ref().expect("the writer runs");
        let sent = commands.send(command(reply)).await;
        sent.ok().expect("the writer runs");
        replied.await.expect("the writer replies")
    }
}

impl Engine for FjallQueue {
    const NAME: &'static str = "fjall";

    fn open(folder: &Path, survives: Survives) -> Self {
        let writer = Writer::open(folder, survives);
        let (sender, commands) = mpsc::channel(16_384);
        let writer = std::thread::spawn(move || writer.run(commands));
        Self(Arc::new(Inner {
            commands: Some(sender),
            writer: Some(writer),
        }))
    }

    async fn store(&self, number: u64) {
        self.call(|reply| Command::Store(number, reply)).await;
    }

    async fn take(&self) -> u64 {
        let ids = self.call(Command::Lease).await;
        let mut completions = tokio::task::JoinSet::new();
        for id in ids {
            let queue = self.clone();
            completions.spawn(async move {
                queue.call(|reply| Command::Complete(id, reply)).await;
            });
        }
        completions.join_all().await.len() as u64
    }
}

impl Drop for Inner {
    /// Waits until the files are closed, because only one process can open them.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}
