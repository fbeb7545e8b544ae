//! Fuzz target: any reply of a Redis server. The code is in `src/redis_reply.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::redis_reply(data));
