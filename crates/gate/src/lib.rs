//! The one pipeline that both entry points of hookgate run: the tower layer and the gateway.
//!
//! ```text
//! request ─▶ Gate::admit_current ─▶ Admission::Forward(Delivery) ─▶ the entry point forwards
//!                   │ Refusal               │ Duplicate, Handshake         │
//!                   ▼                       ▼                              ▼
//!          the entry point responds to the sender             Delivery::settle(Outcome)
//! ```
//!
//! [`Gate::admit_current`] runs these steps, which are also public by themselves:
//!
//! ```text
//! Gate::begin(head) ─▶ AcceptedHead::receive(body) ─▶ CheckedRequest ─▶ Gate::admit
//! ```
//!
//! A [`Receiver`] is a smaller entry point: one source behind a gate, for a framework that takes no
//! tower layer.
//!
//! A source that enforces only forwards a [`Delivery`], and only a verified delivery becomes
//! one. It holds the claim of its event, so duplicates are not forwarded. A source with
//! [`Dedupe::Off`] claims nothing. A batch of a token scheme claims only those of its events
//! that are not done. A source in [`Mode::Observe`] forwards an [`ObservedRequest`], whatever
//! the verdict is.
//!
//! With the feature `queue`, an entry point can store a delivery in place of forwarding it
//! (`Gate::enqueue`). The sender is answered when the delivery is stored, and a worker forwards it.
//!
//! An operator can make the gate forget an event ([`Gate::forget_event`]), and send a captured
//! delivery again ([`Gate::claim_for_resend`]).
//!
//! A `Delivery` that is dropped unsettled releases its claim, with one exception that
//! [`Delivery`] describes.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod audience;
mod body_source;
mod boot_fence;
mod claim_guard;
mod clock;
mod decision_log;
mod delivery;
mod duplicate;
mod first_responses;
mod forwardable;
mod gate;
mod keys;
mod outcome;
mod overrides;
mod pipeline;
#[cfg(feature = "queue")]
mod queue;
mod reason;
mod receive;
mod receiver;
mod refusal;
mod renewal;
mod shared_lookups;
mod source;
mod state;
mod store_update;
mod success;
#[cfg(feature = "test-util")]
pub mod test_util;
mod waiting_bodies;

pub use self::admission::Admission;
pub use self::audience::Audience;
pub use self::body_source::{BodyError, BodySource};
pub use self::boot_fence::BootFence;
pub use self::clock::{Clock, SystemClock};
pub use self::delivery::{Delivery, Settlement};
pub use self::duplicate::Duplicate;
pub use self::first_responses::ResponseRecorder;
pub use self::forwardable::{Forwardable, ObservedRequest, ObservedVerdict};
pub use self::gate::{Gate, GateBuilder, Stats};
pub use self::outcome::Outcome;
pub use self::overrides::{EventForgotten, ResendClaim};
pub use self::pipeline::InboundRequest;
#[cfg(feature = "queue")]
pub use self::queue::{
    FirstAttempt, PrepareError, QueueMode, QueuePolicy, Queued, QueuedRequest, RestoreError,
    RestoredDelivery, StorageError, Turn, restore,
};
pub use self::reason::Reason;
pub use self::receive::{AcceptedHead, CheckedRequest};
pub use self::receiver::{ReceivedRequest, Receiver, WithheldResponse};
pub use self::refusal::Refusal;
pub use self::renewal::Renewal;
pub use self::source::{
    BodyLimit, Dedupe, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, Source, SourceBuilder,
    SourceError,
};

/// The parts that only the crates of this workspace use. They are not part of the public
/// API and may change in any version.
#[doc(hidden)]
pub mod internal {
    pub use crate::body_source::body_error;
    pub use crate::decision_log::LoggedDecision;
    pub use crate::outcome::{is_grpc_response, is_withheld};
    pub use crate::refusal::OUTCOME;
    pub use crate::shared_lookups::SharedLookups;
    use crate::source::Source;

    /// Returns `source` with the tenant of `tenant`, its verifier and its replay keys. Both sources
    /// have the same name.
    pub fn for_tenant_of(source: &Source, tenant: &Source) -> Source {
        source.for_tenant_of(tenant)
    }
}
