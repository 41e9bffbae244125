//! The messages and registered numbers of key provisioning for groups with ACE: between client and
//! Authorization Server (RFC 9200, RFC 9203), and between client and Key Distribution Center (RFC 9594 and the
//! Group OSCORE profile). No `std`; it needs `alloc` alone.
//!
//! Each message is a type that reads and writes its payload. Reading is strict about types, keys that stand
//! twice and bytes that follow, and tolerant of fields that it does not know (RFC 9594 section 4.1.2), except
//! where a specification closes a map. No type of a CBOR library shows; an item whose form is somebody else's
//! is [`RawCbor`].
//!
//! ```
//! use ace_groupcomm_messages::{JoinRequest, RawCbor, ScopeEntry};
//!
//! let scope = ScopeEntry { gname: "lamps".into(), permissions: RawCbor::uint(6) };
//! let request = JoinRequest {
//!     scope: Some(scope.encode()),
//!     cnonce: Some(vec![1, 2, 3, 4, 5, 6, 7, 8]),
//!     ..JoinRequest::default()
//! };
//! let payload = request.encode();
//! assert_eq!(payload[0], 0xa2, "a map of two fields");
//! assert_eq!(JoinRequest::decode(&payload)?, request);
//! # Ok::<(), ace_groupcomm_messages::DecodeError>(())
//! ```
//!
//! | phase | messages |
//! | --- | --- |
//! | 1, client and AS | [`TokenRequest`], [`TokenResponse`], [`TokenError`], [`CreationHints`], [`Cwt`], [`Claims`], [`Confirmation`], [`Scope`] |
//! | 2, token to KDC | [`TokenTransferRequest`], [`TokenTransferResponse`], [`CredentialInfo`] |
//! | 2, join | [`JoinRequest`], [`JoinResponse`], [`JoinRefusal`], [`pop`] |
//! | 2, later | [`KeyDistribution`], [`GetCreds`], [`CredsResponse`], [`CredUpdate`], [`KdcCredRequest`], [`KdcCred`], [`GroupNamesRequest`], [`RekeyingMessage`], [`VerifData`], [`retrieval`] |
//! | keys of the profiles | [`GroupOscoreInputMaterial`], [`PubsubKeyingMaterial`] |
//! | errors | [`ProblemDetails`], [`GroupcommError`] |
//! | numbers and paths | [`labels`], [`paths`] |

#![no_std]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::print_stdout
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod aif;
mod authz_info;
mod cbor;
mod cnf;
mod cred_update;
mod creds;
mod cwt;
mod group_oscore;
mod join;
pub mod labels;
pub mod paths;
mod policies;
pub mod pop;
mod problem;
mod pubsub;
mod rekeying;
pub mod retrieval;
mod sign_info;
mod token;
mod verif_data;

pub use aif::{GroupTwice, Scope, ScopeEntry, ScopeValue, extended_scope_tag};
pub use authz_info::{TokenTransferRequest, TokenTransferResponse};
pub use cbor::{DecodeError, Label, RawCbor};
pub use cnf::{Confirmation, CoseKey, CredentialMethod, OscoreInputMaterial};
pub use cred_update::{CredUpdate, KdcCredRequest};
pub use creds::{CredsResponse, GetCreds, PeerCred};
pub use cwt::{Claims, CoseKind, Cwt, Strictness, token_hash};
pub use group_oscore::{AlgorithmParameters, GroupOscoreInputMaterial};
pub use join::{JoinRefusal, JoinRequest, JoinResponse, KdcCred, KeyDistribution};
pub use policies::GroupPolicies;
pub use problem::{GroupcommError, ProblemDetails};
pub use pubsub::{PubsubGroupKey, PubsubKeyingMaterial};
pub use rekeying::RekeyingMessage;
pub use retrieval::{GroupName, GroupNamesRequest, GroupNamesResponse};
pub use sign_info::{AlgorithmInfo, CredentialInfo, KdcDhCred};
pub use token::{CreationHints, TokenError, TokenErrorCode, TokenRequest, TokenResponse};
pub use verif_data::VerifData;
