//! Fuzz target: any template of a signed message. The code is in `src/template.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::template(data));
