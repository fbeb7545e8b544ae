//! Fuzz target: any text as a scheme. The code is in `src/scheme.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::scheme(data));
