//! Throws bytes at `properties::wsdl`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omgate_fuzz::wsdl(data));
