#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]

mod body;
mod event;
#[cfg(feature = "axum")]
mod extract;
mod hang_up;
mod layer;
mod record;
mod refuse;
mod request;
mod resolve;
mod response;
mod service;

pub use hookgate_core::{
    BuildError, Events, Head, Identity, Key, Provider, ReplayKey, Scheme, Secret, SecretError,
    SignError, Signer, SignerBuilder, UnixTime, Verifier, VerifierBuilder, VerifyError, Window,
};
pub use hookgate_gate::{
    Audience, BodyLimit, BootFence, Clock, Dedupe, DeliveryGuarantee, Gate, GateBuilder, Mode,
    ObservedVerdict, OnConflict, OnDuplicate, Reason, Refusal, Source, SourceBuilder, Stats,
    SystemClock,
};
pub use hookgate_replay::{
    Claim, ClaimOptions, Lease, MemoryStore, ReplayStore, Settled, SourceQuota, StoreError,
};
#[cfg(feature = "disk")]
pub use hookgate_replay::{DiskStore, DiskStoreBuilder, Durability, OpenError};
#[cfg(feature = "redis")]
pub use hookgate_replay::{RedisConfig, RedisStore};

pub use self::body::VerifiedBody;
pub use self::event::VerifiedEvent;
#[cfg(feature = "axum")]
pub use self::extract::{NotVerified, VerifiedJson, VerifiedJsonRejection};
pub use self::hang_up::OnHangUp;
pub use self::layer::HookgateLayer;
pub use self::refuse::{ProblemJson, Refuse};
pub use self::resolve::{BoxError, LiveSource, Resolve, Sources};
pub use self::response::ResponseBody;
pub use self::service::Hookgate;

/// The test of the program in the README.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
