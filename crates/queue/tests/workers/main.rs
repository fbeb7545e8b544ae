//! The workers on the reference queue, in paused time.

mod breaker;
mod failures;
mod observed_queue;
mod order;
mod outcomes;
mod reload;
mod renewal;
mod rest;
mod upstream;
