//! Fuzz target: any document with public keys. The code is in `src/key_document.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::key_document(data));
