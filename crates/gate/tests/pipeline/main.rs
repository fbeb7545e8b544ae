//! Tests of the gate's pipeline, by topic. Each test sets the time itself.

#![expect(clippy::unwrap_used, reason = "tests")]

mod admission;
mod dedupe;
mod fetched_keys;
mod first_responses;
mod memory;
mod overrides;
mod receiver;
mod receiving;
mod settlement;
mod source;
mod source_replaced;
mod support;
