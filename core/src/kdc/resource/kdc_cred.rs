//! GET of /ace-group/GROUPNAME/kdc-cred: the KDC's credential, with a new proof (RFC 9594 section 4.5).

use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::resource::join::KDC_NONCE_LEN;
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use crate::refusal::Refusal;
use ace_groupcomm_messages::{KdcCred, pop};

impl KdcApp {
    pub(in crate::kdc) fn kdc_cred(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let kdc_nonce = scene.view.random_bytes::<KDC_NONCE_LEN>("N_KDC").to_vec();
        let input = pop::kdc_input(&member.member.clientchallenge, &kdc_nonce);
        let (rules, credential) = (&member.authorised.group.rules, member.member.credential.as_ref());
        let proof = rules.kdc_proves(scene.view, credential, input)?.ok_or(Refusal::NotFound)?;
        let answer = KdcCred { kdc_cred: proof.cred, kdc_nonce, kdc_cred_verify: proof.evidence };
        Ok(content(answer.encode()))
    }
}
