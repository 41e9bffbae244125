//! The OSCORE transport profile of ACE (RFC 9203): client and resource server come to an OSCORE context out of a
//! token whose key is an `OSCORE_Input_Material`.
//!
//! | side | type |
//! | --- | --- |
//! | resource server, ACE's part | [`CoapOscore`], registered as `coap_oscore` |
//! | resource server, messages | [`OscoreServer`]: the contexts, and the protection of CoAP messages |
//! | client | [`Upload`]: from the token response to the context |
//! | both | [`derive()`]: the derivation of section 4.3 |
//!
//! ```
//! use ace_groupcomm_messages::{OscoreInputMaterial, TokenTransferResponse};
//! use ace_profile_oscore::Upload;
//!
//! // From the AS: the token, and the same input material that is in it.
//! let mut material = OscoreInputMaterial::new(vec![1], vec![7; 16]);
//! material.salt = Some(vec![2]);
//! let upload = Upload::new(material, vec![0x18; 8], vec![0x16, 0x45]);
//! let post = upload.request(b"the token".to_vec());
//! assert_eq!(post.client_recipient_id, Some(vec![0x16, 0x45]));
//!
//! // From the KDC: N2 and ID2.
//! let response = TokenTransferResponse {
//!     nonce2: Some(vec![0x25; 8]),
//!     server_recipient_id: Some(vec![0, 0]),
//!     ..TokenTransferResponse::default()
//! };
//! let parameters = upload.finish(&response)?;
//! assert_eq!(parameters.sender_id, [0, 0]);
//! # Ok::<(), ace_profile_oscore::UploadError>(())
//! ```

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

mod client;
mod derivation;
mod runs;
mod server;
mod table;
mod transport;

pub use client::{OscoreClient, Upload, UploadError, client_parameters, client_security};
pub use derivation::{DerivationError, Exchanged, MAX_NONCE, derive};
pub use server::{OscoreServer, Responses};
pub use transport::{CoapOscore, DESCRIPTOR};
