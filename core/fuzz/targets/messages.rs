//! See `ace_fuzz::messages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ace_fuzz::messages(bytes));
