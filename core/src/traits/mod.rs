//! What others plug in: storage, cryptography, tokens, profiles.

pub mod crypto;
pub mod member;
pub mod profile;
pub mod rekeying;
pub mod storage;
pub mod token;
pub mod transport;
