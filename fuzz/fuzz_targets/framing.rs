//! Fuzz target: any lines as the fields of a request. The code is in `src/request_head.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::framing(data));
