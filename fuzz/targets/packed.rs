//! Throws bytes at `properties::packed`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::packed(data));
