//! The client's side: posting a token, and what the answer makes of it (RFC 9203 sections 4.1 and 4.3).

use crate::derivation::{DerivationError, Exchanged, derive};
use crate::transport::{restore, stored};
use ace_coap::security::ClientSecurity;
use ace_groupcomm::Secret;
use ace_groupcomm::member::Numbers;
use ace_groupcomm::traits::member::{BegunTransfer, ClientTransport, Unsuitable};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::{
    Confirmation, OscoreInputMaterial, TokenResponse, TokenTransferRequest, TokenTransferResponse,
};
use ace_oscore::{Context, Parameters, Sequence};
use thiserror::Error;

/// Why a token post came to nothing. The client may begin again, with a new N1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The answer lacks N2 or ID2.
    #[error("the answer lacks nonce or identifier")]
    Missing,
    /// No context can be derived.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
}

/// A token post under way. It is kept until its answer has come; each post has an N1 of its own.
pub struct Upload {
    material: OscoreInputMaterial,
    nonce1: Vec<u8>,
    client_id: Vec<u8>,
}

impl core::fmt::Debug for Upload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Upload").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Upload {
    /// Begins a post. `nonce1` is N1, 8 random bytes that were never used before; `client_id` is ID1, which no
    /// other context of the client has as Recipient ID.
    #[must_use]
    pub const fn new(material: OscoreInputMaterial, nonce1: Vec<u8>, client_id: Vec<u8>) -> Self {
        Self { material, nonce1, client_id }
    }

    /// The request; the caller may add questions about the groups.
    #[must_use]
    pub fn request(&self, access_token: Vec<u8>) -> TokenTransferRequest {
        TokenTransferRequest {
            access_token,
            nonce1: Some(self.nonce1.clone()),
            client_recipient_id: Some(self.client_id.clone()),
            ..TokenTransferRequest::default()
        }
    }

    /// The parameters of the client's context.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn finish(self, response: &TokenTransferResponse) -> Result<Parameters, UploadError> {
        let (Some(nonce2), Some(server_id)) = (&response.nonce2, &response.server_recipient_id) else {
            return Err(UploadError::Missing);
        };
        let exchanged = Exchanged { nonce1: &self.nonce1, nonce2, client_id: &self.client_id, server_id };
        Ok(derive(&self.material, exchanged)?)
    }
}

/// The profile for a member.
#[derive(Clone, Copy, Debug, Default)]
pub struct OscoreClient;

impl ClientTransport for OscoreClient {
    fn takes(&self, response: &TokenResponse) -> Result<(), Unsuitable> {
        if let Some(profile) = response.ace_profile.filter(|profile| *profile != COAP_OSCORE) {
            return Err(Unsuitable::new(format_args!(
                "the token is for the transport profile {profile}, not for coap_oscore ({COAP_OSCORE})"
            )));
        }
        match response.cnf {
            Some(Confirmation::Osc(_)) => Ok(()),
            _ => Err(Unsuitable::new("the token response has no OSCORE input material (cnf with osc)")),
        }
    }

    fn begin(
        &self,
        access_token: Vec<u8>,
        cnf: &Confirmation,
        nonce: [u8; 8],
        client_id: Vec<u8>,
    ) -> Result<(TokenTransferRequest, Box<dyn BegunTransfer>), Unsuitable> {
        let Confirmation::Osc(material) = cnf else {
            return Err(Unsuitable::new("the token's key is for another profile"));
        };
        let upload = Upload::new(material.clone(), nonce.to_vec(), client_id);
        Ok((upload.request(access_token), Box::new(upload)))
    }
}

impl BegunTransfer for Upload {
    fn finish(self: Box<Self>, response: &TokenTransferResponse) -> Result<Secret, Unsuitable> {
        Self::finish(*self, response).map(|parameters| stored(&parameters)).map_err(Unsuitable::new)
    }
}

/// The parameters of a client's context, of the association that [`OscoreClient`] has made.
#[must_use]
pub fn client_parameters(association: &Secret) -> Option<Parameters> {
    let mut parameters = restore(association)?;
    std::mem::swap(&mut parameters.sender_id, &mut parameters.recipient_id);
    Some(parameters)
}

/// The security of a client under the association that [`OscoreClient`] has made: its context, which was used before
/// ([`Context::restored`]), with these sequence numbers. `None` where the material cannot be read.
#[must_use]
pub fn client_security(association: &Secret, numbers: Numbers) -> Option<Box<dyn ClientSecurity>> {
    let sequence = Sequence::block(numbers.start, numbers.limit);
    Some(Box::new(Context::restored(&client_parameters(association)?, sequence).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> Upload {
        let mut material = OscoreInputMaterial::new(vec![1], vec![1; 16]);
        material.context_id = Some(vec![3]);
        Upload::new(material, vec![1; 8], vec![1])
    }

    fn answer(nonce2: Option<&[u8]>, id: Option<&[u8]>) -> TokenTransferResponse {
        TokenTransferResponse {
            nonce2: nonce2.map(<[u8]>::to_vec),
            server_recipient_id: id.map(<[u8]>::to_vec),
            ..TokenTransferResponse::default()
        }
    }

    // Covers: AF-5.8.2-03
    #[test]
    fn a_token_for_another_profile_or_key_is_refused_by_name() {
        let osc = Some(Confirmation::Osc(upload().material));
        let response = |ace_profile, cnf| TokenResponse { ace_profile, cnf, ..TokenResponse::default() };
        assert_eq!(OscoreClient.takes(&response(Some(2), osc.clone())), Ok(()));
        assert_eq!(OscoreClient.takes(&response(None, osc.clone())), Ok(()));
        let why = |response| OscoreClient.takes(&response).unwrap_err().0;
        assert!(why(response(Some(1), osc)).contains("profile 1, not for coap_oscore"));
        for cnf in [None, Some(Confirmation::Kid(vec![1]))] {
            assert!(why(response(Some(2), cnf)).contains("cnf with osc"));
        }
    }

    // Covers: OP-4.1.1-01, OP-4.1.2-01
    // Covers: OP-4.3-09
    #[test]
    fn an_answer_that_lacks_something_makes_no_context() {
        let request = upload().request(vec![9]);
        assert_eq!(
            (request.access_token, request.nonce1, request.client_recipient_id),
            (vec![9], Some(vec![1; 8]), Some(vec![1]))
        );
        assert_eq!(upload().finish(&answer(None, Some(&[2]))).map(|_| ()), Err(UploadError::Missing));
        assert_eq!(upload().finish(&answer(Some(&[2]), None)).map(|_| ()), Err(UploadError::Missing));
        let mut bare = upload();
        bare.material.ms.clear();
        let bare = bare.finish(&answer(Some(&[2; 8]), Some(&[2]))).map(|_| ());
        assert_eq!(bare, Err(UploadError::Derivation(DerivationError::Length)), "what the AS left out");
        let same = upload().finish(&answer(Some(&[2]), Some(&[1]))).map(|_| ());
        assert_eq!(same, Err(UploadError::Derivation(DerivationError::SameIds)));
        let derived = upload().finish(&answer(Some(&[2; 8]), Some(&[2]))).unwrap();
        assert_eq!((derived.sender_id.as_slice(), derived.id_context.as_deref()), (&[2][..], Some(&[3][..])));
        assert!(!format!("{:?}", upload()).contains("1, 1, 1"));
        // The same for a member that keeps it.
        let cnf = Confirmation::Osc(upload().material);
        let (post, begun) = OscoreClient.begin(vec![9], &cnf, [1; 8], vec![1]).unwrap();
        assert_eq!(post, upload().request(vec![9]));
        let association = begun.finish(&answer(Some(&[2; 8]), Some(&[2]))).unwrap();
        let kept = client_parameters(&association).unwrap();
        assert_eq!((&kept.sender_id, &kept.recipient_id), (&derived.sender_id, &derived.recipient_id));
        assert_eq!((&kept.master_secret, &kept.master_salt), (&derived.master_secret, &derived.master_salt));
        assert_eq!(kept.id_context, derived.id_context);
        let (_, begun) = OscoreClient.begin(vec![9], &cnf, [1; 8], vec![1]).unwrap();
        assert!(begun.finish(&answer(None, Some(&[2]))).is_err());
        assert!(OscoreClient.begin(vec![9], &Confirmation::Kid(vec![1]), [1; 8], vec![1]).is_err());
        assert!(client_parameters(&Secret::new(vec![1])).is_none());
    }
}
