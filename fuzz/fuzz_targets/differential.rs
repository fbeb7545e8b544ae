//! Fuzz target: the requests of one connection. The code is in `src/differential.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::differential(data));
