//! Fuzz target: any bytes as the head of a response. The code is in `src/response_head.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::response_head(data));
