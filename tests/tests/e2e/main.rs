//! End to end: the layer in a real axum server, and the real gateway process.

mod cli;
mod concurrency;
mod configuration;
mod crashes;
mod faults;
mod forwarding;
mod framing;
mod parity;
mod schemes;
mod strangers;
mod vectors;
