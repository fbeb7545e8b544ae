//! Models of the product's own synchronisation. Shuttle runs each of them many times, and chooses
//! at each lock and each atomic which thread runs next.
//!
//! The models run the product's source files: [`copies`] has them, with the locks and atomics of
//! shuttle. Shuttle assumes sequential consistency, so it does not show a wrong `Ordering`.
//!
//! The operations of tokio's `Notify` and `watch`, and of the cache of moka, are single steps here.
//! Those projects test them.
//!
//! Some parts have no model, because they need a server, a file or a runtime: the orphaned claims of
//! the Redis store, the thread that writes to SQLite, and the dispatcher of the queue. The tests of
//! `crates/replay` and `crates/queue` cover them.

pub mod delivery;
pub mod executor;
pub mod explore;
pub mod stand_ins;

/// The copies of the product's files. The build script makes them, and a faulty one for each control.
#[allow(
    dead_code,
    unused_imports,
    unused_mut,
    missing_debug_implementations,
    unexpected_cfgs,
    reason = "a copy is a part of a crate, without its features"
)]
pub mod copies {
    include!(concat!(env!("OUT_DIR"), "/copies.rs"));
}
