#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod bounds;
mod cached;
mod event;
#[cfg(feature = "axum")]
mod extract;
mod hang_up;
mod layer;
#[cfg(feature = "queue")]
mod queue;
mod record;
mod refuse;
mod request;
mod resolve;
mod response;
mod service;

pub use hookgate_core::{
    Acknowledgement, BuildError, Chunk, EqualBytes, ExpectedResponses, Fact, Facts, FetchedKey,
    Head, HeadOutcome, Identity, Key, KeyReference, Pending, Problem, Problems, Provider,
    ReplayKey, ReplayScope, RequestOutcome, Retries, Scheme, SchemeEvidence, SchemeFamily,
    SchemeWarning, Secret, SecretError, SignError, Signer, SignerBuilder, UndocumentedProvider,
    UnixTime, UnknownProvider, Variant, Verified, Verifier, VerifierBuilder, VerifyError, Window,
};
#[cfg(feature = "test-util")]
pub use hookgate_gate::test_util;
pub use hookgate_gate::{
    AcceptedHead, Admission, Audience, BodyError, BodyLimit, BodySource, BootFence, CheckedRequest,
    Clock, Dedupe, Delivery, DeliveryGuarantee, Duplicate, EventForgotten, Forwardable, Gate,
    GateBuilder, InboundRequest, Mode, ObservedRequest, ObservedVerdict, OnConflict, OnDuplicate,
    Outcome, Reason, ReceivedRequest, Receiver, Refusal, Renewal, ResendClaim, ResponseRecorder,
    Settlement, Source, SourceBuilder, SourceError, Stats, SystemClock, WithheldResponse,
};
#[cfg(feature = "queue")]
pub use hookgate_gate::{QueueMode, QueuePolicy, StorageError};
#[cfg(feature = "keys")]
pub use hookgate_keys::{
    Address, CertificateChain, Document, DocumentRequest, FetchDocument, FetchError, FetchFuture,
    FetchResult, KeyFetcher, KeySettings, KeyStats, SettingsError,
};
#[cfg(feature = "fetch")]
pub use hookgate_keys::{AddressPolicy, HttpsClient, TlsError};
#[cfg(feature = "queue")]
pub use hookgate_queue::{
    Changed, DiskQueue, DiskQueueBuilder, EntryFilter, EntryId, EntryInfo, EntryState, Failure,
    FailureKind, Order, Page, QueueError, QueueStats, QueueStore, RetrySchedule, SourceStats,
};
#[cfg(feature = "redis")]
pub use hookgate_replay::redis::{RedisConfig, RedisStore, RedisUrlError, WaitReplicas};
pub use hookgate_replay::{
    Claim, ClaimOptions, Forgotten, Lease, MemoryStore, ReplayStore, Settled, SourceQuota,
    StoreError,
};
#[cfg(feature = "disk")]
pub use hookgate_replay::{DiskStore, DiskStoreBuilder, Durability, OpenError};

pub use self::body::VerifiedBody;
pub use self::bounds::{InnerService, RequestBody};
pub use self::cached::{CachedSources, LookUpSource};
pub use self::event::VerifiedEvent;
#[cfg(feature = "axum")]
pub use self::extract::{NotVerified, VerifiedJson, VerifiedJsonRejection};
pub use self::hang_up::OnHangUp;
pub use self::layer::HookgateLayer;
#[cfg(feature = "queue")]
pub use self::queue::{QueueWorkers, QueuedLayer};
pub use self::refuse::{ProblemJson, Refuse};
pub use self::request::ClientAddress;
pub use self::resolve::{BoxError, ListSources, LiveSource, Resolve, ResolveFn, Sources};
pub use self::response::ResponseBody;
pub use self::service::Hookgate;
