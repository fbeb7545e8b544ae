//! Fuzz target: any body as a form. The code is in `src/form.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::form(data));
