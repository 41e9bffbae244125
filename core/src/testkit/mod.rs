//! For those who test an engine, a backend or a profile: a suite for each trait ([`storage`], [`profile`], [`transport`], [`token`]),
//! a store that fails on command, the smallest profiles that go through every trait, builders, a world of AS, KDC and members ([`world`]), and a simulation.
//!
//! Nothing here belongs into a deployment: keys are fixed and randomness is seeded.

pub mod build;
pub mod desk;
pub mod ledger;
pub mod profile;
pub mod sim;
pub mod storage;
pub mod store;
pub mod token;
pub mod toy;
pub mod transport;
pub mod world;

pub use desk::Desk;
pub use store::TestStore;

/// A rule of a contract that did not hold, in words: what was expected and, where that helps, what came.
pub type Failure = String;

fn require(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
