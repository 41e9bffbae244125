//! See `ace_fuzz::oscore`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ace_fuzz::oscore(bytes));
