//! The one pipeline that both front doors of hookgate call.
//!
//! ```text
//! head ──▶ Gate::begin ─▶ AcceptedHead ──receive(body)──▶ CheckedRequest ──Gate::admit──▶ Admission
//!               │ Refusal                  │ Refusal                  │ Refusal or Duplicate
//! Admission::Forward(Delivery) ─▶ the front door forwards ─▶ Delivery::settle(Outcome)
//! ```
//!
//! Nothing can be forwarded without a [`Delivery`], and there is no way to one
//! but through a verified signature and a granted claim. A `Delivery` that is
//! dropped unsettled gives its claim back.

#![forbid(unsafe_code)]

mod admission;
mod clock;
mod delivery;
mod gate;
mod passage;
mod receive;
mod refusal;
mod settling;
mod source;
mod together;

pub use self::admission::Admission;
pub use self::clock::{Clock, SystemClock};
pub use self::delivery::{Delivery, Outcome, Settlement};
pub use self::gate::{BootFence, Gate, GateBuilder, Stats};
pub use self::passage::{Forwardable, ObservedRequest, ObservedVerdict};
pub use self::receive::{AcceptedHead, BodyError, BodySource, CheckedRequest};
pub use self::refusal::{Audience, Reason, Refusal, acknowledge_duplicate};
pub use self::source::{
    BodyLimit, Dedupe, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, Source, SourceBuilder,
};

/// What the crates of this workspace share. Not part of the public API: it may change
/// in any version.
#[doc(hidden)]
pub mod internal {
    pub use crate::delivery::{is_grpc_response, is_withheld};
}
