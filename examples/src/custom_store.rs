//! A custom replay store: it wraps another store and prints an audit line for every claim. The
//! documentation of `ReplayStore` has a store written from scratch. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin custom_store -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/beatapi
//! ```

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tower_hookgate::{
    BoxError, Claim, ClaimOptions, Forgotten, HookgateLayer, Lease, MemoryStore, ReplayKey,
    ReplayStore, Secret, Settled, Source, StoreError, VerifiedEvent,
};

/// A store that prints every call of the wrapped store and its result.
struct Audited<S>(S);

impl<S: ReplayStore> ReplayStore for Audited<S> {
    async fn claim(&self, key: ReplayKey, options: ClaimOptions) -> Result<Claim, StoreError> {
        let claim = self.0.claim(key, options).await;
        println!("audit: claim {key:?}: {claim:?}");
        claim
    }

    async fn commit(&self, lease: &Lease, retention: Duration) -> Result<Settled, StoreError> {
        let settled = self.0.commit(lease, retention).await;
        println!("audit: commit {:?}: {settled:?}", lease.key());
        settled
    }

    async fn release(&self, lease: &Lease) -> Result<Settled, StoreError> {
        let settled = self.0.release(lease).await;
        println!("audit: release {:?}: {settled:?}", lease.key());
        settled
    }

    async fn renew(&self, lease: &Lease, duration: Duration) -> Result<Settled, StoreError> {
        let settled = self.0.renew(lease, duration).await;
        println!("audit: release {:?}: {settled:?}", lease.key());
        settled
    }

    async fn forget(&self, key: ReplayKey) -> Result<Forgotten, StoreError> {
        let forgotten = self.0.forget(key).await;
        println!("audit: forget {key:?}: {forgotten:?}");
        forgotten
    }

    async fn record_done(&self, key: ReplayKey, retention: Duration) -> Result<(), StoreError> {
        let recorded = self.0.record_done(key, retention).await;
        println!("audit: record {key:?} as done for {retention:?}: {recorded:?}");
        recorded
    }

    // Forward the methods with a default as well: the default of `settled` polls.
    fn settled(&self, key: ReplayKey) -> impl Future<Output = ()> + Send {
        self.0.settled(key)
    }

    fn entries(&self) -> Option<u64> {
        self.0.entries()
    }
}

async fn handle(event: VerifiedEvent) -> StatusCode {
    println!("event {:?}", event.id());
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = Secret::from_env("BEATAPI_SECRET")?;
    let source = Source::of_provider("beatapi", secret)?.build();
    let hookgate = HookgateLayer::new(source).replay_store(Audited(MemoryStore::new()));

    let app = Router::new()
        .route("/hooks/beatapi", post(handle))
        .route_layer(hookgate);

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
