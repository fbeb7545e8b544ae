//! Measures the storage engines of a queue side by side: SQLite as `DiskQueue` uses it, fjall with
//! the same tables, and two controls.
//!
//! Run it with `cargo run --release --manifest-path benches/queue-engines/Cargo.toml`. It prints
//! the record that `benches/records/queue_engines.md` has.

mod controls;
mod engine;
mod fjall_queue;
mod sqlite_queue;

use std::path::Path;
use std::time::{Duration, Instant};

use self::controls::{NaiveSqlite, SyncedFile};
use self::engine::{Engine, Survives};
use self::fjall_queue::FjallQueue;
use self::sqlite_queue::SqliteQueue;

/// The number of deliveries that are on their way at the same time.
const CALLERS: u64 = 64;

/// How long each row stores deliveries.
const PHASE: Duration = Duration::from_secs(4);

const ROUNDS: usize = 3;

/// The rate and the latencies of one phase.
struct Phase {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    let backlog = std::env::args().nth(1).map(|text| text.parse().expect("a number of entries"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("the runtime starts");
    runtime.block_on(async {
        println!("| engine | survives | stored/s | p50 | p99 | sent and removed/s |");
        println!("|---|---|---|---|---|---|");
        for survives in [Survives::Process, Survives::Power] {
            for _ in 0..ROUNDS {
                // The systems alternate, so that a drift of the machine meets all of them.
                row::<SyncedFile>(survives).await;
                row::<NaiveSqlite>(survives).await;
                row::<SqliteQueue>(survives).await;
                row::<FjallQueue>(survives).await;
            }
        }
        println!();
        println!("| engine | waiting | stored/s | p50 | p99 | opens in | bytes an entry |");
        println!("|---|---|---|---|---|---|---|");
        let backlog = backlog.unwrap_or(1_000_000);
        backlog_rows::<SqliteQueue>(backlog).await;
        backlog_rows::<FjallQueue>(backlog).await;
    });
}

async fn row<E: Engine>(survives: Survives) {
    let folder = tempfile::tempdir_in(".").expect("the folder is created");
    let engine = E::open(folder.path(), survives);
    let phase = store_for(&engine, PHASE, 0).await;
    let start = Instant::now();
    let mut removed = 0;
    while start.elapsed() < PHASE {
        match engine.take().await {
            0 => break,
            taken => removed += taken,
        }
    }
    let removal = removed as f64 / start.elapsed().as_secs_f64();
    let Phase { rate, p50, p99 } = phase;
    println!(
        "| {} | {survives:?} | {rate:.0} | {p50:.1?} | {p99:.1?} | {} |",
        E::NAME,
        match removed {
            0 => String::new(),
            _ => format!("{removal:.0}"),
        }
    );
}

/// Stores deliveries from `CALLERS` tasks for `duration`.
async fn store_for<E: Engine>(engine: &E, duration: Duration, first: u64) -> Phase {
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let engine = engine.clone();
        callers.spawn(async move {
            let mut latencies = Vec::new();
            let mut number = first + caller;
            while start.elapsed() < duration {
                let called = Instant::now();
                engine.store(number).await;
                latencies.push(called.elapsed());
                number += CALLERS;
            }
            latencies
        });
    }
    let mut latencies = callers.join_all().await.concat();
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000];
    Phase {
        rate,
        p50: quantile(500),
        p99: quantile(990),
    }
}

/// Compares a queue that is empty with one in which `backlog` entries wait.
async fn backlog_rows<E: Engine>(backlog: u64) {
    let folder = tempfile::tempdir_in(".").expect("the folder is created");
    let engine = E::open(folder.path(), Survives::Process);
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let engine = engine.clone();
        callers.spawn(async move {
            for number in (caller..backlog).step_by(CALLERS as usize) {
                engine.store(number).await;
            }
        });
    }
    callers.join_all().await;
    println!(
        "| {} | the first {backlog} | {:.0} | | | | |",
        E::NAME,
        backlog as f64 / start.elapsed().as_secs_f64()
    );
    drop(engine);
    let bytes = size(folder.path()) as f64 / backlog as f64;
    let start = Instant::now();
    let full = E::open(folder.path(), Survives::Process);
    let opening = start.elapsed();
    for round in 0..ROUNDS as u64 {
        let other = tempfile::tempdir_in(".").expect("the folder is created");
        let empty = E::open(other.path(), Survives::Process);
        let Phase { rate, p50, p99 } = store_for(&empty, PHASE, 0).await;
        println!("| {} | 0 | {rate:.0} | {p50:.1?} | {p99:.1?} | | |", E::NAME);
        drop(empty);
        let first = 10 * backlog * (round + 1);
        let Phase { rate, p50, p99 } = store_for(&full, PHASE, first).await;
        println!(
            "| {} | {backlog} | {rate:.0} | {p50:.1?} | {p99:.1?} | {opening:.1?} | {bytes:.0} |",
            E::NAME
        );
    }
}

/// Returns the size of all files below `folder`.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder is read");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("the folder is read");
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        }
    });
    sizes.sum()
}
