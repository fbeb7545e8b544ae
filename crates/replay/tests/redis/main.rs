//! The Redis store with real servers: healthy, failing, emptied, replicated and clustered.

#![expect(clippy::unwrap_used, reason = "tests")]

mod failures;
mod forgotten;
mod healthy;
mod lost_data;
mod older_data;
mod proxy;
mod recorded;
mod topologies;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_core::internal::ErrorChain;
use hookgate_replay::conformance::{CLAIM_OPTIONS, Harness, ShiftedClock};
use hookgate_replay::{Claim, Forgotten, Lease, RedisConfig, RedisStore, ReplayStore};
use tokio::time::Instant;

/// A store for the conformance suite, with its servers.
struct Fixture<T> {
    shifted: ShiftedClock<RedisStore>,
    _servers: T,
}

impl<T: Send + Sync + 'static> Fixture<T> {
    async fn new(servers: T, url: &str) -> Self {
        let shift = Arc::new(AtomicU64::new(0));
        let store = RedisStore::connect_with_clock_shift(config(url), Arc::clone(&shift)).await;
        Self {
            shifted: ShiftedClock {
                store: store.unwrap(),
                shift,
            },
            _servers: servers,
        }
    }
}

impl<T: Send + Sync + 'static> Harness for Fixture<T> {
    type Store = RedisStore;

    const SLACK: Duration = ShiftedClock::<RedisStore>::SLACK;

    fn store(&self) -> &RedisStore {
        &self.shifted.store
    }

    async fn advance(&self, duration: Duration) {
        self.shifted.advance(duration).await;
    }
}

/// Returns the configuration of a store. A loaded machine may need more than the default timeout.
fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::new(url).unwrap();
    config.with_timeout(Duration::from_secs(2))
}

async fn connect(url: &str) -> RedisStore {
    RedisStore::connect(config(url)).await.unwrap()
}

/// Connects with the default timeout, so that a call whose reply is lost ends long before the store
/// checks the connection. The check would have the lost reply's place.
async fn connect_with_default_timeout(url: &str) -> RedisStore {
    let config = RedisConfig::new(url).unwrap();
    RedisStore::connect(config).await.unwrap()
}

async fn refused(url: &str) -> String {
    match RedisStore::connect(config(url)).await {
        Ok(store) => panic!("{store:?} is connected"),
        Err(error) => ErrorChain(&error).to_string(),
    }
}

fn key(number: u32) -> ReplayKey {
    let mut bytes = [7; 16];
    // The first byte selects the slot of a cluster, so neighbours are in different slots.
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    ReplayKey::from_bytes(bytes)
}

/// Returns the server's name for the key.
fn name(number: u32) -> String {
    let [slot, rest @ ..] = number.to_le_bytes();
    let rest = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]);
    format!("hookgate:{{{slot:02x}}}{rest:06x}{}", "07".repeat(12))
}

async fn granted(store: &RedisStore, number: u32) -> Lease {
    match store.claim(key(number), CLAIM_OPTIONS).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

async fn claim(store: &RedisStore, number: u32) -> Claim {
    store.claim(key(number), CLAIM_OPTIONS).await.unwrap()
}

async fn forget(store: &RedisStore, number: u32) -> Forgotten {
    store.forget(key(number)).await.unwrap()
}

async fn claim_fails(store: &RedisStore, number: u32) -> String {
    let error = store.claim(key(number), CLAIM_OPTIONS).await;
    let error = error.expect_err("the claim cannot be granted");
    ErrorChain(&error).to_string()
}

/// The arguments of a server that loses nothing when it is killed. Without the second one, Redis
/// writes up to two seconds late while a sync is slow.
const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The longest time until a claim fails. A store would wait for each of many claims otherwise.
const PROMPT: Duration = Duration::from_secs(10);

/// The longest time until a server can be used again.
const RECOVERY: Duration = Duration::from_secs(30);

/// Claims until the store answers, for `limit` at most.
async fn claim_within(store: &RedisStore, number: u32, limit: Duration) -> Claim {
    let start = Instant::now();
    loop {
        match store.claim(key(number), CLAIM_OPTIONS).await {
            Ok(claim) => return claim,
            Err(error) => assert!(start.elapsed() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
