//! What must hold for any bytes: no panic, and what was read is read again as the same.
//!
//! Each function is a fuzz target: `targets` has a program for each, `corpus` inputs that reach different places, which a
//! test runs too. `core/fuzz/run` builds the programs with the coverage that the fuzzer needs, on a stable toolchain.

#![forbid(unsafe_code)]

mod coap;
mod endpoint;
mod messages;
mod oscore;

pub use coap::coap;
pub use endpoint::endpoint;
pub use messages::messages;
pub use oscore::oscore;
