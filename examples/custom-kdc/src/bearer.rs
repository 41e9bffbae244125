//! A transport profile for HTTP over TLS: the KDC gives the client of a token a bearer, and knows it by that.
//!
//! A bearer is the name of the association and a secret of 32 bytes, sent as `Authorization: Bearer HEX`. The name is no secret, so
//! that it alone proves nothing.

use ace_backend_tokio::{AssociationTable, Handle};
use ace_groupcomm::registry::{TransportProfileDescriptor, submit};
use ace_groupcomm::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm::{AssociationId, Caller};
use ace_groupcomm_messages::{Confirmation, Label, RawCbor, TokenTransferRequest};
use subtle::ConstantTimeEq;

/// The number of the profile: from the range for private use.
pub const NUMBER: i64 = -70_020;
/// The parameter of the answer to a token post that holds the bearer.
pub const BEARER: Label = Label::Int(-70_021);
/// Length of the secret, in bytes.
const SECRET_LEN: usize = 32;

/// The KDC's side: a token that names its key by `kid` makes an association with a bearer.
pub struct BearerOverTls;

/// Name and number under which a KDC finds the profile.
pub const DESCRIPTOR: TransportProfileDescriptor =
    TransportProfileDescriptor { name: "bearer", number: NUMBER, crate_name: "custom-kdc", profile: &BearerOverTls };

submit! { DESCRIPTOR }

impl TransportProfile for BearerOverTls {
    fn number(&self) -> i64 {
        NUMBER
    }

    fn key_is_public(&self, _cnf: &Confirmation) -> bool {
        false
    }

    fn has_sequence_numbers(&self) -> bool {
        false
    }

    fn associate(
        &self,
        _post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal> {
        let Confirmation::Kid(key) = cnf else { return Err(TransportRefusal::OtherProfile) };
        let id = offer.names.next().ok_or(TransportRefusal::NoName)?;
        let bearer = [id.as_bytes(), offer.secret.expose()].concat();
        let answer = vec![(BEARER, RawCbor::bytes(&bearer))];
        Ok(NewAssociation { id, input_id: key.clone(), material: offer.secret, answer })
    }
}

/// Who shows this bearer; `None` where it is nobody's.
pub async fn caller(known: &AssociationTable, handle: &Handle, bearer: &[u8]) -> Option<Caller> {
    let (id, shown) = bearer.split_at_checked(bearer.len().checked_sub(SECRET_LEN)?)?;
    let id = AssociationId::from(id);
    let secret = known.find(handle, &id).await?.material;
    bool::from(secret.expose().ct_eq(shown)).then_some(Caller::peer(id))
}
