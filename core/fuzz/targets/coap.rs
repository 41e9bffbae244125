//! See `ace_fuzz::coap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ace_fuzz::coap(bytes));
