//! Fuzz target: any header of the PROXY protocol. The code is in `src/proxy_header.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::proxy_header(data));
