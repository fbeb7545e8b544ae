//! Tests of the queue's side of the gate: storing a delivery, and restoring it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod batches;
mod crashes;
mod records;
mod restoring;
mod storing;
mod support;
