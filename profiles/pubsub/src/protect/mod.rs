//! What is published: encrypted for the group, and countersigned by its publisher (section 6 of the profile).
//!
//! A [`Publisher`] makes objects, COSE_Encrypt0 with a countersignature, under one group key and one Sender ID. A [`Subscriber`] reads
//! them: it has the keys of one topic's group by their Gids, and a replay window for each publisher under each key. Neither has a clock,
//! randomness or storage, and neither looks for keys: those come of the KDC, as [`PubsubGroupKey`], and so do the publishers'
//! credentials.
//!
//! ```
//! use ace_groupcomm_messages::{Label, PubsubGroupKey};
//! use ace_oscore::Sequence;
//! use ace_profile_pubsub::protect::{GroupKey, Publisher, Rejected, Signer, Subscriber, Verifier};
//!
//! # struct Device;
//! # impl Signer for Device {
//! #     fn algorithm(&self) -> i64 { -8 }
//! #     fn sign(&self, message: &[u8]) -> Option<Vec<u8>> { Some(vec![message.len() as u8; 64]) }
//! # }
//! # impl Verifier for Device {
//! #     fn algorithm(&self) -> i64 { -8 }
//! #     fn verifies(&self, message: &[u8], signature: &[u8]) -> bool { signature == vec![message.len() as u8; 64] }
//! # }
//! # let (device, its_public_key) = (Device, Device);
//! // The same key for all members, from the KDC.
//! let key = PubsubGroupKey { kid: vec![3, 0, 0], alg: Label::Int(10), base_iv: vec![0x61; 13], k: vec![2; 16] };
//!
//! // The block of sequence numbers was stored as used before.
//! let mut publisher = Publisher::new(GroupKey::new(&key)?, &[7], Sequence::block(0, 100), device)?;
//! let object = publisher.publish(b"21 degrees")?;
//!
//! let mut subscriber = Subscriber::default();
//! subscriber.install(GroupKey::new(&key)?);
//! let known = |gid: &[u8], sender_id: &[u8]| (gid == [3, 0, 0] && sender_id == [7]).then_some(&its_public_key);
//! let received = subscriber.receive(&object, known)?;
//! assert_eq!((received.sender_id.as_slice(), received.data.as_slice()), (&[7][..], &b"21 degrees"[..]));
//! assert_eq!(subscriber.receive(&object, known).unwrap_err(), Rejected::Replayed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`PubsubGroupKey`]: ace_groupcomm_messages::PubsubGroupKey

mod key;
mod object;
mod publisher;
mod subscriber;

pub use key::{GroupKey, KeyError};
pub use object::{Malformed, Object};
pub use publisher::{PublishError, Publisher, Signer};
pub use subscriber::{Received, Rejected, Subscriber, Verifier};

/// Numbers of COSE that objects have.
mod label {
    /// `alg`, RFC 9052 section 3.1.
    pub(super) const ALG: i64 = 1;
    /// `crit`, RFC 9052 section 3.1.
    pub(super) const CRIT: i64 = 2;
    /// `kid`, RFC 9052 section 3.1.
    pub(super) const KID: i64 = 4;
    /// `IV`, RFC 9052 section 3.1.
    pub(super) const IV: i64 = 5;
    /// `Partial IV`, RFC 9052 section 3.1.
    pub(super) const PARTIAL_IV: i64 = 6;
    /// `Countersignature version 2`, RFC 9338 section 3.1.
    pub(super) const COUNTERSIGNATURE: i64 = 11;
}
