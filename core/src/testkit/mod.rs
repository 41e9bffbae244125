//! For those who test an engine, a backend or a profile: a suite for storage, a store that fails on command, the
//! smallest profiles that go through every trait, builders, and a simulation.
//!
//! Nothing here belongs into a deployment: keys are fixed and randomness is seeded.

pub mod build;
pub mod desk;
pub mod ledger;
pub mod sim;
pub mod storage;
pub mod store;
pub mod toy;

pub use desk::Desk;
pub use store::TestStore;
