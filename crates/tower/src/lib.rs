//! A tower layer that lets only genuine webhook deliveries through.
//!
//! It buffers the raw body, checks the provider's signature and the timestamp,
//! acknowledges events that were delivered before without delivering them again,
//! and hands the verified bytes of all others to the service inside. The event counts as delivered when that service answers
//! with success; after any other answer, a panic, or a dropped call, the
//! sender's retry gets through.
//!
//! ```
//! use axum::{Router, body::Bytes, http::StatusCode, routing::post};
//! use tower_hookgate::{HookgateLayer, Provider, Secret, Source, VerifiedEvent, Verifier};
//! # #[cfg(feature = "axum")]
//! async fn handler(event: VerifiedEvent, body: Bytes) -> StatusCode {
//!     println!("event {:?}, {} bytes", event.id(), body.len());
//!     StatusCode::NO_CONTENT
//! }
//! # #[cfg(not(feature = "axum"))]
//! # async fn handler(body: Bytes) -> StatusCode { StatusCode::NO_CONTENT }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let beatapi = Provider::named("beatapi").ok_or("not in the catalogue")?;
//! let secret = Secret::new("whsec_5f0c8a6de2b94a13")?; // or Secret::from_env("BEATAPI_SECRET")
//! let verifier = Verifier::builder(beatapi.scheme()).key(secret.clone()).build()?;
//! let source = Source::builder("beatapi", verifier).provider(&beatapi).build();
//!
//! let app = Router::new()
//!     .route("/hooks/beatapi", post(handler))
//!     .layer(HookgateLayer::new(source)); // covers the routes above it
//!
//! // A good delivery reaches the handler, a tampered one does not.
//! use axum::{body::Body, http::Request};
//! use tower::ServiceExt;
//! use tower_hookgate::{Clock, Signer, SystemClock};
//! let body = r#"{"id":"evt_1","event":"task.succeeded"}"#;
//! let signed = Signer::new(beatapi.scheme(), &secret)?.sign(body.as_bytes(), SystemClock.now(), None)?;
//! for (body, expected) in [(body, StatusCode::NO_CONTENT), ("{}", StatusCode::UNAUTHORIZED)] {
//!     let mut request = Request::post("/hooks/beatapi").body(Body::from(body))?;
//!     request.headers_mut().extend(signed.clone());
//!     assert_eq!(app.clone().oneshot(request).await?.status(), expected);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Order of layers
//!
//! axum's `Router::layer` covers only the routes added before it. Layers that
//! change the body (decompression) must sit inside of this one: the signature
//! is over the bytes as they were sent. The service inside is held ready while a
//! body arrives, so a layer that limits concurrency belongs outside of this one.
//!
//! # When a call is dropped
//!
//! A server drops the handler's future when the sender hangs up. The event is
//! then given back, and the retry runs the handler again from its start.

mod body;
mod event;
#[cfg(feature = "axum")]
mod extract;
mod hang_up;
mod layer;
mod record;
mod refuse;
mod resolve;
mod response;
mod service;

pub use hookgate_core::{
    BuildError, Events, Head, Identity, Key, Provider, ReplayKey, Scheme, Secret, SecretError,
    SignError, Signer, SignerBuilder, UnixTime, Verifier, VerifierBuilder, VerifyError, Window,
};
pub use hookgate_gate::{
    Audience, BodyLimit, BootFence, Clock, Dedupe, Finding, Gate, GateBuilder, Mode, OnConflict,
    OnDuplicate, Promise, Reason, Refusal, Source, SourceBuilder, Stats, SystemClock,
};
pub use hookgate_replay::{
    Claim, Lease, MemoryStore, ReplayStore, Settled, Share, StoreError, Terms,
};
#[cfg(feature = "disk")]
pub use hookgate_replay::{DiskStore, DiskStoreBuilder, Durability, OpenError};
#[cfg(feature = "redis")]
pub use hookgate_replay::{RedisConfig, RedisStore};

pub use self::body::VerifiedBody;
pub use self::event::VerifiedEvent;
#[cfg(feature = "axum")]
pub use self::extract::{LayerMissing, VerifiedJson, VerifiedJsonRejection};
pub use self::hang_up::OnHangUp;
pub use self::layer::HookgateLayer;
pub use self::refuse::{ProblemJson, Refuse};
pub use self::resolve::{BoxError, LiveSource, Resolve, Sources};
pub use self::response::ResponseBody;
pub use self::service::Hookgate;

/// The program of the README compiles.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
