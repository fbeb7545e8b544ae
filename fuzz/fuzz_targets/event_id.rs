//! Fuzz target: any signed body. The code is in `src/event_id.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::event_id(data));
