//! Fuzz target: any value of a signature header. The code is in `src/signature_header.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::signature_header(data));
