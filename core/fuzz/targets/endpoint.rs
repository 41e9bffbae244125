//! See `ace_fuzz::endpoint`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ace_fuzz::endpoint(bytes));
