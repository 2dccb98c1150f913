//! Throws bytes at `properties::configuration`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::configuration(data));
