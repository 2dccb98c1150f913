//! Throws bytes at `properties::envelope`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::envelope(data));
