//! Fuzz target: any record of a queue's file. The code is in `src/queue_record.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hookgate_fuzz::queue_record(data));
