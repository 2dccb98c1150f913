//! Throws bytes at `properties::certificate`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::certificate(data));
