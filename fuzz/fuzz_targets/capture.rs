//! Fuzz target: any file with a captured request. The code is in `src/capture.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::capture(data));
