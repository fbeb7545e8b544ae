//! The one pipeline that both front doors of hookgate call.
//!
//! ```text
//! head ──▶ Gate::begin ─▶ Receiving ──receive(body)──▶ Received ──Gate::admit──▶ Admission
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
pub use self::delivery::{Delivery, Outcome, Settlement, is_call, is_withheld};
pub use self::gate::{BootFence, Gate, GateBuilder, Stats};
pub use self::passage::{Finding, Observed, Passage};
pub use self::receive::{BodyError, BodySource, Received, Receiving};
pub use self::refusal::{Audience, Reason, Refusal, acknowledge_duplicate};
pub use self::source::{
    BodyLimit, Dedupe, Mode, OnConflict, OnDuplicate, Promise, Source, SourceBuilder,
};
