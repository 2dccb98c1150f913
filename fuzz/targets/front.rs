//! Throws bytes at `properties::front`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::front(data));
