//! Fuzz target: any message of a queue in NATS. The code is in `src/queue_message.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::queue_message(data));
