//! Fuzz target: any values of `Connection`. The code is in `src/hop_by_hop.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::hop_by_hop(data));
