//! Profiles of others: what one can do, and which mistakes are told at the start.

mod altered;
mod credentials;
mod faults;
mod schemes;
mod suite;
