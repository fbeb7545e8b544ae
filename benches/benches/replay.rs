//! The cost of the replay stores as the number of remembered events grows: claims a second with
//! many concurrent deliveries, the latency of a claim, and the memory of an event.
//!
//! `cargo bench --bench replay` measures; `-- --test` runs each store once with few events.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookgate_core::ReplayKey;
use hookgate_replay::{
    Claim, ClaimOptions, DiskStore, Durability, MemoryStore, RedisConfig, RedisStore, ReplayStore,
    Settled,
};

/// The allocator of the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of concurrent deliveries.
const CONCURRENCY: [usize; 2] = [32, 64];

const CLAIM_OPTIONS: ClaimOptions =
    ClaimOptions::new(Duration::from_secs(600), Duration::from_secs(600));
const RETENTION: Duration = Duration::from_secs(24 * 3600);

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let sizes: &[u64] = match is_test {
        true => &[100],
        false => &[1_000, 10_000, 100_000, 1_000_000],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    println!(
        "{:<24} {:>9} {:>8} {:>10} {:>10} {:>10} {:>12}",
        "store", "events", "parallel", "claims/s", "p50", "p99", "bytes/event"
    );
    runtime.block_on(async {
        let memory = MemoryStore::with_max_entries(u64::MAX >> 1);
        measure_store("memory", Arc::new(memory), sizes, resident).await;
        for (name, durability) in [
            ("disk", Durability::Process),
            ("disk, power-loss safe", Durability::Power),
        ] {
            let folder = tempfile::tempdir().expect("the temporary folder is created");
            let store = DiskStore::builder()
                .durability(durability)
                .open(folder.path());
            let path = folder.path().join("replay.db");
            let sizes = match durability {
                Durability::Power => &sizes[..sizes.len().min(2)],
                _ => sizes,
            };
            let store = Arc::new(store.expect("the store opens"));
            measure_store(name, store, sizes, || size(&path)).await;
        }
        for (name, persistence) in [("redis", "no"), ("redis, append-only file", "yes")] {
            let server = Redis::start(persistence);
            let config = RedisConfig::new(&format!("redis://127.0.0.1:{}", server.port));
            let store = RedisStore::connect(config.expect("the address is valid")).await;
            let store = Arc::new(store.expect("the store opens"));
            measure_store(name, store, sizes, || server.memory()).await;
        }
    });
}

/// A redis-server of this benchmark on a free port. It stops when it is dropped.
struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    fn start(append_only: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("the listener is bound").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", append_only, "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Self {
            process,
            port,
            _folder: folder,
        }
    }

    /// Returns the memory that the server reports, in bytes.
    fn memory(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream
            .write_all(b"INFO memory\r\nQUIT\r\n")
            .expect("the server reads");
        let mut reply = String::new();
        stream
            .read_to_string(&mut reply)
            .expect("the server responds");
        let used = reply
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok())
            .expect("the server reports used_memory")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Fills `store` to each of `sizes`. For each concurrency, prints the claims a second, the 50th
/// and 99th percentile of the last claims, and the bytes of an event.
async fn measure_store<S: ReplayStore>(
    name: &str,
    store: Arc<S>,
    sizes: &[u64],
    used_bytes: impl Fn() -> u64,
) {
    let empty = used_bytes();
    let next_event = Arc::new(AtomicU64::new(0));
    for size in sizes {
        let measured = (*size / 4).min(50_000);
        for (step, concurrency) in (0..).zip(CONCURRENCY) {
            let unmeasured = *size - (CONCURRENCY.len() as u64 - step) * measured;
            fill(&store, &next_event, unmeasured, concurrency).await;
            let start = Instant::now();
            let mut claims = fill(&store, &next_event, unmeasured + measured, concurrency).await;
            let elapsed = start.elapsed();
            claims.sort_unstable();
            let quantile = |of: usize| claims[(claims.len() * of / 100).min(claims.len() - 1)];
            let per_second = claims.len() as f64 / elapsed.as_secs_f64();
            let (p50, p99) = (quantile(50), quantile(99));
            // Let background writes finish before the size is read.
            tokio::time::sleep(Duration::from_secs(u64::from(*size > 1_000))).await;
            let bytes_per_event = used_bytes().saturating_sub(empty) / (unmeasured + measured);
            println!(
                "{name:<24} {size:>9} {concurrency:>8} {per_second:>10.0} {p50:>10.1?} {p99:>10.1?} {bytes_per_event:>12}"
            );
        }
    }
}

/// Claims and commits new events until their number is `until`. Returns the time of each claim.
async fn fill<S: ReplayStore>(
    store: &Arc<S>,
    next_event: &Arc<AtomicU64>,
    until: u64,
    concurrency: usize,
) -> Vec<Duration> {
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (store, next_event) = (Arc::clone(store), Arc::clone(next_event));
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let next = next_event.fetch_add(1, Ordering::Relaxed);
                    if next >= until {
                        next_event.fetch_sub(1, Ordering::Relaxed);
                        return times;
                    }
                    let start = Instant::now();
                    let claim = store.claim(key(next), CLAIM_OPTIONS).await;
                    times.push(start.elapsed());
                    let Ok(Claim::Granted(lease)) = claim else {
                        panic!("event {next} is new and must be granted: {claim:?}");
                    };
                    let settled = store.commit(&lease, RETENTION).await;
                    assert_eq!(settled.ok(), Some(Settled::Applied));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("no task panics"));
    }
    all
}

/// Returns a replay key whose bits are spread like those of a real key, which is a hash.
fn key(number: u64) -> ReplayKey {
    let spread = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    ReplayKey::from_bytes(spread.to_be_bytes())
}

/// Returns the size of the database file after its write-ahead log was copied into it.
fn size(path: &Path) -> u64 {
    let file = rusqlite::Connection::open(path).expect("the file is a database");
    let checkpoint = || file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    // A checkpoint of the store may be running.
    while checkpoint() != Ok(0) {
        std::thread::yield_now();
    }
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Returns the resident memory of this process in bytes, or 0 without /proc.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
