//! Fuzz target: any response of an upstream. The code is in `src/response_differential.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::response_differential(data));
