//! The store that the documentation of `ReplayStore` shows, under the suite that it
//! tells to mount.

include!("../doc/own_store.rs");

hookgate_replay::conformance::suite!(paused, || async {
    hookgate_replay::conformance::PausedClock(MapStore::default())
});
