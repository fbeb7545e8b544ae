//! Fuzz target: any bytes as the head of a request. The code is in `src/request_head.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::request_head(data));
