//! GET of /ace-group/GROUPNAME/kdc-cred: the KDC's credential, with a new proof (RFC 9594 section 4.5).

use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::resource::join::KDC_NONCE_LEN;
use crate::kdc::scene::Authorised;
use crate::refusal::Refusal;
use crate::request::Response;
use crate::schema::records::Member;
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{KdcCred, pop};

impl KdcApp {
    pub(in crate::kdc) fn kdc_cred(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        member: &Member,
    ) -> Result<Response, Stop> {
        let kdc_nonce = view.random_bytes::<KDC_NONCE_LEN>("N_KDC").to_vec();
        let input = pop::kdc_input(&member.clientchallenge, &kdc_nonce);
        let proof = authorised.group.rules.kdc_proves(view, input)?.ok_or(Refusal::NotFound)?;
        let answer = KdcCred { kdc_cred: proof.cred, kdc_nonce, kdc_cred_verify: proof.evidence };
        Ok(content(ACE_GROUPCOMM_CBOR, answer.encode()))
    }
}
