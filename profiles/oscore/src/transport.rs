//! ACE's part at the resource server: what a token post carries, and what it makes (RFC 9203 section 4.2).

use crate::derivation::{DerivationError, Exchanged, aead, derive};
use ace_groupcomm::Secret;
use ace_groupcomm::record::FIRST_FORMAT;
use ace_groupcomm::registry::TransportProfileDescriptor;
use ace_groupcomm::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm_messages::labels::ace_profile::COAP_OSCORE;
use ace_groupcomm_messages::labels::oauth;
use ace_groupcomm_messages::{Confirmation, Label, RawCbor, TokenTransferRequest};
use ace_oscore::{Aead, Hkdf, Parameters};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The transport profile `coap_oscore`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoapOscore;

/// What the registry of profiles is told.
pub const DESCRIPTOR: TransportProfileDescriptor = TransportProfileDescriptor {
    name: "coap_oscore",
    number: COAP_OSCORE,
    crate_name: env!("CARGO_PKG_NAME"),
    profile: &CoapOscore,
};

ace_groupcomm::registry::submit! { DESCRIPTOR }

/// Length of N2: 64 bits are recommended (RFC 9203 section 4.2).
const NONCE_LEN: usize = 8;

impl From<DerivationError> for TransportRefusal {
    fn from(unsuitable: DerivationError) -> Self {
        match unsuitable {
            DerivationError::Version | DerivationError::Algorithm => Self::Unsupported,
            DerivationError::Length | DerivationError::SameIds => Self::OutOfBounds,
        }
    }
}

impl TransportProfile for CoapOscore {
    fn number(&self) -> i64 {
        COAP_OSCORE
    }

    fn key_is_public(&self, _cnf: &Confirmation) -> bool {
        false
    }

    fn associate(
        &self,
        post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal> {
        let Confirmation::Osc(material) = cnf else { return Err(TransportRefusal::OtherProfile) };
        let (Some(nonce1), Some(client_id)) = (&post.nonce1, &post.client_recipient_id) else {
            return Err(TransportRefusal::Missing);
        };
        let max = aead(material)?.max_id_len();
        let server_id = std::iter::from_fn(|| offer.names.next())
            .find(|name| name.as_bytes().len() <= max && name.as_bytes() != client_id)
            .ok_or(TransportRefusal::NoName)?;
        let nonce2: Vec<u8> = offer.random.iter().copied().take(NONCE_LEN).collect();
        let exchanged = Exchanged { nonce1, nonce2: &nonce2, client_id, server_id: server_id.as_bytes() };
        let parameters = derive(material, exchanged)?;
        let answer = vec![
            (Label::Int(oauth::NONCE2), RawCbor::bytes(&nonce2)),
            (Label::Int(oauth::ACE_SERVER_RECIPIENTID), RawCbor::bytes(server_id.as_bytes())),
        ];
        Ok(NewAssociation { material: stored(&parameters), id: server_id, input_id: material.id.clone(), answer })
    }
}

/// The parameters of the client's context, as they are kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    secret: Secret,
    salt: ByteBuf,
    client_id: ByteBuf,
    server_id: ByteBuf,
    id_context: Option<ByteBuf>,
    aead: i64,
    sha512: bool,
}

/// What is kept of a client's parameters, at either end.
pub(crate) fn stored(parameters: &Parameters) -> Secret {
    let record = Stored {
        secret: Secret::from(parameters.master_secret.as_slice()),
        salt: ByteBuf::from(parameters.master_salt.clone()),
        client_id: ByteBuf::from(parameters.recipient_id.clone()),
        server_id: ByteBuf::from(parameters.sender_id.clone()),
        id_context: parameters.id_context.clone().map(ByteBuf::from),
        aead: parameters.aead.cose(),
        sha512: parameters.hkdf == Hkdf::Sha512,
    };
    Secret::new(ace_groupcomm::record::to_bytes(&record, FIRST_FORMAT))
}

/// The parameters of the resource server's context.
pub(crate) fn restore(material: &Secret) -> Option<Parameters> {
    let record: Stored = ace_groupcomm::record::from_bytes(material.expose(), FIRST_FORMAT).ok()?;
    Some(Parameters {
        master_secret: record.secret.expose().to_vec(),
        master_salt: record.salt.into_vec(),
        sender_id: record.client_id.into_vec(),
        recipient_id: record.server_id.into_vec(),
        id_context: record.id_context.map(ByteBuf::into_vec),
        aead: Aead::from_cose(record.aead)?,
        hkdf: if record.sha512 { Hkdf::Sha512 } else { Hkdf::Sha256 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ace_groupcomm::AssociationId;
    use ace_groupcomm_messages::{Label, OscoreInputMaterial};

    fn cnf() -> OscoreInputMaterial {
        OscoreInputMaterial {
            id: vec![0xa5],
            version: None,
            ms: vec![1; 16],
            hkdf: Some(Label::Int(7)),
            alg: Some(Label::Int(1)),
            salt: Some(vec![2; 8]),
            context_id: Some(vec![]),
        }
    }

    fn associate(
        post: &TokenTransferRequest,
        cnf: &OscoreInputMaterial,
        names: &[&[u8]],
    ) -> Result<NewAssociation, TransportRefusal> {
        let mut names = names.iter().map(|name| AssociationId::from(*name));
        CoapOscore.associate(
            post,
            &Confirmation::Osc(cnf.clone()),
            Offer { random: [9; 32], secret: Secret::new(vec![]), names: &mut names },
        )
    }

    fn post(nonce1: Option<&[u8]>, id: Option<&[u8]>) -> TokenTransferRequest {
        TokenTransferRequest {
            access_token: vec![],
            nonce1: nonce1.map(<[u8]>::to_vec),
            client_recipient_id: id.map(<[u8]>::to_vec),
            ..TokenTransferRequest::default()
        }
    }

    // Covers: OP-4.2-03, OP-4.2-05, OP-4.3-12, OP-4.3-13, OP-4.3-14, OP-4.3-11, TH-1-05/differing-ids
    #[test]
    fn the_server_swaps_the_identifiers_and_keeps_all_parameters() {
        let new = associate(&post(Some(&[1; 8]), Some(&[7])), &cnf(), &[&[1; 7], &[7], &[8]]).unwrap();
        assert_eq!(
            (new.id.as_bytes(), new.input_id.as_slice(), new.answer.as_slice()),
            (
                &[8][..],
                &[0xa5][..],
                &[(Label::Int(42), RawCbor::bytes(&[9; 8])), (Label::Int(44), RawCbor::bytes(&[8]))][..]
            )
        );
        let server = restore(&new.material).unwrap();
        assert_eq!((server.sender_id.as_slice(), server.recipient_id.as_slice()), (&[7][..], &[8][..]));
        assert_eq!(
            (server.aead, server.hkdf, server.id_context.as_deref()),
            (Aead::A128Gcm, Hkdf::Sha512, Some(&[][..]))
        );
        assert_eq!((server.master_secret.as_slice(), server.master_salt.len()), (&[1; 16][..], 27));
        assert!(restore(&Secret::new(vec![1, 2])).is_none());
    }

    // Covers: TH-1-05/client-id-length, TH-1-05/differing-ids, TH-1-05/input-bounds, TH-1-05/unknown-input
    #[test]
    fn what_cannot_be_used_is_refused() {
        let good = post(Some(&[1; 8]), Some(&[7]));
        assert!(associate(&post(Some(&[1; 8]), Some(&[])), &cnf(), &[&[8]]).is_ok(), "an empty identifier is one");
        assert_eq!(associate(&post(None, Some(&[7])), &cnf(), &[&[8]]), Err(TransportRefusal::Missing));
        assert_eq!(associate(&post(Some(&[1]), None), &cnf(), &[&[8]]), Err(TransportRefusal::Missing));
        assert_eq!(associate(&post(Some(&[1]), Some(&[7; 7])), &cnf(), &[&[8]]), Err(TransportRefusal::OutOfBounds));
        assert_eq!(associate(&post(Some(&[1; 65]), Some(&[7])), &cnf(), &[&[8]]), Err(TransportRefusal::OutOfBounds));
        assert_eq!(associate(&good, &cnf(), &[&[7], &[7]]), Err(TransportRefusal::NoName), "ID1 is every candidate");
        let with = |change: &dyn Fn(&mut OscoreInputMaterial)| {
            let mut material = cnf();
            change(&mut material);
            associate(&good, &material, &[&[8]]).unwrap_err()
        };
        assert_eq!(with(&|m| m.version = Some(0)), TransportRefusal::Unsupported);
        assert_eq!(with(&|m| m.alg = Some(Label::Int(99))), TransportRefusal::Unsupported);
        assert_eq!(with(&|m| m.salt = Some(vec![0; 65])), TransportRefusal::OutOfBounds);
        let mut names = std::iter::empty();
        let offer = Offer { random: [0; 32], secret: Secret::new(vec![]), names: &mut names };
        assert_eq!(
            CoapOscore.associate(&good, &Confirmation::Kid(vec![1]), offer),
            Err(TransportRefusal::OtherProfile)
        );
        assert!(!CoapOscore.key_is_public(&Confirmation::Kid(vec![])));
        assert_eq!(CoapOscore.number(), 2);
    }
}
