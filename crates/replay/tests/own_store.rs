//! Runs the conformance suite on the example store in the documentation of `ReplayStore`.

include!("../doc/own_store.rs");

hookgate_replay::conformance::suite!(paused, || async {
    hookgate_replay::conformance::PausedClock(MapStore::default())
});
