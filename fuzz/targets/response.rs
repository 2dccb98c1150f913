//! Throws bytes at `properties::response`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::response(data));
