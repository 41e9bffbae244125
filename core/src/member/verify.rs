//! What verifies signatures of a group, for who is no member of it (Group OSCORE profile sections 9.5.2 and 9.6).

use super::Setup;
use super::bytes::Bytes;
use super::flow::{ask, get, refused};
use super::group::Peer;
use super::run::{Run, Stop};
use super::{MemberError, MemberEvent};
use crate::{Method, Request, Response};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::{CREDS, KDC_CRED, ROOT};
use ace_groupcomm_messages::{CredsResponse, KdcCred, KdcCredRequest};

/// What a signature verifier has of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationData {
    /// The KDC's answer, as it came: the profile takes it apart ([`MemberRules::verification_parts`]).
    ///
    /// [`MemberRules::verification_parts`]: crate::traits::member::MemberRules::verification_parts
    pub answer: Bytes,
    /// The KDC's credential, which it has proven.
    pub kdc_cred: Bytes,
    /// The credentials of the members.
    pub peers: Vec<Peer>,
}

/// How often the version may change while all is got.
const TRIES: u32 = 3;

/// Gets what verifies signatures, the KDC's credential with a proof over an N_C of this exchange, and the credentials of the members: all
/// of one version.
pub(super) fn verify_data(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let rules = setup.rules.as_ref();
    let resource = rules.verification_resource().ok_or(MemberError::Unusable("the profile has no verifiers"))?;
    let kdc_cred = proven(setup, run)?;
    for _ in 0..TRIES {
        let answer = got(setup, run, resource)?;
        let num = rules.verification_parts(&answer.payload)?.num;
        let listed = CredsResponse::decode(&got(setup, run, CREDS)?.payload)?;
        // A group that lists nobody says no version either.
        if listed.as_ref().is_some_and(|listed| listed.num != num) {
            continue;
        }
        let peers = listed.map(|listed| listed.peers).unwrap_or_default();
        let peers = peers.into_iter().map(|peer| Peer::new(rules, peer)).collect();
        let data = VerificationData { answer: Bytes(answer.payload.to_vec()), kdc_cred, peers };
        run.tell(MemberEvent::VerificationData(Box::new(data)));
        return Ok(());
    }
    Err(MemberError::Unusable("the keying material changes all the time").into())
}

/// The answer to a GET of a resource of the group.
fn got(setup: &Setup, run: &mut Run<'_>, resource: &str) -> Result<Response, Stop> {
    let answer = ask(setup, run, |_, _| Ok(get(setup, &[resource])))?;
    if answer.status.is_success() { Ok(answer) } else { Err(refused(&answer).into()) }
}

/// The KDC's credential, when it has proven to have its key.
fn proven(setup: &Setup, run: &mut Run<'_>) -> Result<Bytes, Stop> {
    let gname = setup.rules.scope().gname;
    let mut cnonce = Vec::new();
    let answer = ask(setup, run, |_, nonce| {
        cnonce = nonce.to_vec();
        let wanted = KdcCredRequest { cnonce: cnonce.clone() };
        let request = Request::new(Method::Fetch, [ROOT, &gname, KDC_CRED]);
        Ok(request.with_payload(ACE_GROUPCOMM_CBOR, wanted.encode()))
    })?;
    if !answer.status.is_success() {
        return Err(refused(&answer).into());
    }
    let kdc = KdcCred::decode(&answer.payload)?;
    setup.rules.kdc_proven(&kdc, &cnonce)?;
    Ok(Bytes(kdc.kdc_cred))
}
