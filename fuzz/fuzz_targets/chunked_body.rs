//! Fuzz target: any bytes as a chunked body. The code is in `src/chunked_body.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::chunked_body(data));
