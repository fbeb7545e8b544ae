//! Fuzz target: any forwarded headers. The code is in `src/forwarded.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::forwarded(data));
