//! Throws bytes at `properties::expression`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::expression(data));
