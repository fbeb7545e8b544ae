//! The controls: one sync for each delivery, and SQLite with one transaction for each delivery.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use crate::engine::{BODY, ENVELOPE, Engine, Survives, TAKEN, key};

/// Appends each delivery to a file.
#[derive(Clone)]
pub struct SyncedFile(Arc<Mutex<File>>, Survives);

impl Engine for SyncedFile {
    const NAME: &'static str = "control: file, one write (and sync) a delivery";

    fn open(folder: &Path, survives: Survives) -> Self {
        let file = File::create(folder.join("log")).expect("the file is created");
        Self(Arc::new(Mutex::new(file)), survives)
    }

    async fn store(&self, number: u64) {
        let Self(file, survives) = self.clone();
        let store = move || {
            let record = [&key(number)[..], &ENVELOPE, &BODY].concat();
            let mut file = file.lock();
            file.write_all(&record).expect("the file is written");
            if survives == Survives::Power {
                file.sync_data().expect("the file is synced");
            }
        };
        tokio::task::spawn_blocking(store).await.expect("no panic");
    }

    async fn take(&self) -> u64 {
        0
    }
}

/// One transaction for each delivery.
#[derive(Clone)]
pub struct NaiveSqlite(Arc<Mutex<Connection>>);

impl Engine for NaiveSqlite {
    const NAME: &'static str = "control: SQLite, one transaction a delivery";

    fn open(folder: &Path, survives: Survives) -> Self {
        let database = Connection::open(folder.join("naive.db")).expect("the file is opened");
        let synchronous = match survives {
            Survives::Process => "NORMAL",
            Survives::Power => "FULL",
        };
        database
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
                 CREATE TABLE entries (id INTEGER PRIMARY KEY, key BLOB UNIQUE, due INTEGER,
                   state INTEGER, envelope BLOB, body BLOB);
                 CREATE INDEX due ON entries (state, due);"
            ))
            .expect("the tables are created");
        Self(Arc::new(Mutex::new(database)))
    }

    async fn store(&self, number: u64) {
        let Self(database) = self.clone();
        let store = move || {
            let database = database.lock();
            let mut insert = database
                .prepare_cached("INSERT INTO entries VALUES (NULL, ?1, ?2, 0, ?3, ?4)")
                .expect("the statement is valid");
            insert
                .execute(params![key(number), number.cast_signed(), ENVELOPE, BODY])
                .expect("the delivery is stored");
        };
        tokio::task::spawn_blocking(store).await.expect("no panic");
    }

    async fn take(&self) -> u64 {
        let Self(database) = self.clone();
        let take = move || {
            let database = database.lock();
            let mut taken = 0;
            for _ in 0..TAKEN {
                let mut lease = database
                    .prepare_cached(
                        "UPDATE entries SET state = 1 WHERE id =
                           (SELECT id FROM entries WHERE state = 0 ORDER BY due LIMIT 1)
                         RETURNING id, envelope, body",
                    )
                    .expect("the statement is valid");
                let Ok(id) = lease.query_row([], |row| row.get::<_, i64>(0)) else {
                    break;
                };
                let mut delete = database
                    .prepare_cached("DELETE FROM entries WHERE id = ?1")
                    .expect("the statement is valid");
                delete.execute([id]).expect("the delivery is removed");
                taken += 1;
            }
            taken
        };
        tokio::task::spawn_blocking(take).await.expect("no panic")
    }
}
