//! Resources of the profile beside those of RFC 9594: whether the group is active (section 8.2), what verifiers need (sections 8.1
//! and 8.3), and which Sender IDs went stale (section 8.4).

use crate::rules::OscoreGroup;
use crate::scope;
use ace_groupcomm::refusal::Refusal;
use ace_groupcomm::traits::profile::{ProfileOutcome, ProfileRequest, ProfileRoute, ProfileWho};
use ace_groupcomm::{Method, Stop};
use ace_groupcomm_messages::labels::content_format::{ACE_GROUPCOMM_CBOR, CBOR};
use ace_groupcomm_messages::labels::groupcomm_profile::COAP_GROUP_OSCORE_APP;
use ace_groupcomm_messages::labels::key_type::GROUP_OSCORE_INPUT_MATERIAL;
use ace_groupcomm_messages::paths::{ACTIVE, KDC_CRED, STALE_SIDS, VERIF_DATA};
use ace_groupcomm_messages::{KdcCred, KdcCredRequest, Label, RawCbor, VerifData, pop, retrieval};
use std::collections::BTreeSet;

/// Length of N_KDC; 8 bytes at least are recommended (section 6.3 of the profile).
const KDC_NONCE_LEN: usize = 8;
/// Longest N_C: the KDC signs it.
const MAX_CNONCE: usize = 64;

const fn route(name: &'static str, method: Method, who: ProfileWho) -> ProfileRoute {
    ProfileRoute {
        name,
        is_below: false,
        method,
        who,
        takes: None,
        gives: Some(ACE_GROUPCOMM_CBOR),
        is_observable: false,
    }
}

const VERIFIER: ProfileWho = ProfileWho::Verifier(scope::VERIFIER);

/// The rows that the profile adds (section 8.5).
pub(crate) const ROUTES: &[ProfileRoute] = &[
    ProfileRoute { gives: Some(CBOR), is_observable: true, ..route(ACTIVE, Method::Get, ProfileWho::Member) },
    route(VERIF_DATA, Method::Get, VERIFIER),
    // Its examples have Content-Format 60, and RFC 9594 asks for 261 where one is given: both are taken.
    ProfileRoute { gives: Some(CBOR), ..route(STALE_SIDS, Method::Fetch, ProfileWho::Member) },
    ProfileRoute { takes: Some(ACE_GROUPCOMM_CBOR), ..route(KDC_CRED, Method::Fetch, VERIFIER) },
];

pub(crate) fn serve(group: &OscoreGroup, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
    match request.route.name {
        ACTIVE => Ok(ProfileOutcome::content(retrieval::encode_active(request.group.active))),
        VERIF_DATA => verif_data(group, request),
        STALE_SIDS => stale_sids(group, request),
        KDC_CRED => kdc_cred(group, request),
        _ => Err(Refusal::NotFound.into()),
    }
}

/// GET verif-data: what an external verifier needs of the keying material (section 9.6).
fn verif_data(group: &OscoreGroup, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
    let current = request.keying.current()?;
    let broken = || Refusal::Internal("the keying material cannot be read");
    let (key, sign_enc_key) = group.for_verifiers(current.secret, request.group.gid).ok_or_else(broken)?;
    let data = VerifData {
        gkty: Label::Int(GROUP_OSCORE_INPUT_MATERIAL),
        key,
        num: i64::try_from(request.group.num).map_err(|_| broken())?,
        ace_groupcomm_profile: COAP_GROUP_OSCORE_APP,
        exp: Some(current.expires.seconds()),
        exi: Some(current.left),
        sign_enc_key: sign_enc_key.expose().to_vec(),
    };
    Ok(ProfileOutcome::content(data.encode()))
}

/// FETCH kdc-cred: the Group Manager's credential, with a proof over the verifier's N_C (section 9.5.2).
fn kdc_cred(group: &OscoreGroup, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
    let fetched = KdcCredRequest::decode(&request.request.payload).ok().map(|fetched| fetched.cnonce);
    let cnonce = fetched.filter(|cnonce| (1..=MAX_CNONCE).contains(&cnonce.len()));
    let cnonce = cnonce.ok_or(Refusal::BadRequest("cnonce is missing, or has another length than it may have"))?;
    let kdc_nonce = request.view.random_bytes::<KDC_NONCE_LEN>("N_KDC for a verifier").to_vec();
    let evidence = request.view.signed(&group.identity.key, pop::kdc_input(&cnonce, &kdc_nonce))?.to_vec();
    let answer = KdcCred { kdc_cred: group.identity.cred.clone(), kdc_nonce, kdc_cred_verify: evidence };
    Ok(ProfileOutcome::content(answer.encode()))
}

/// FETCH stale-sids: the Sender IDs that went stale since a version (section 9.9).
fn stale_sids(group: &OscoreGroup, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
    if request.request.content_format.is_some_and(|format| ![CBOR, ACE_GROUPCOMM_CBOR].contains(&format)) {
        return Err(Refusal::UnsupportedContentFormat.into());
    }
    let version = RawCbor::new(&request.request.payload).ok().and_then(|item| item.as_uint());
    let version = version.ok_or(Refusal::BadRequest("the version is no unsigned integer"))?;
    let num = request.group.num;
    if version >= num {
        return Err(Refusal::BadRequest("the version is not older than that of the group").into());
    }
    // As many sets as there are versions from that one on, both included.
    let skew = num.saturating_sub(version).saturating_add(1);
    if skew > group.max_stale_sets {
        return Ok(ProfileOutcome::content(Vec::new()));
    }
    let sets: Vec<_> = (version..=num).map(|num| request.keying.stale_under(num)).collect();
    let mut stale = BTreeSet::new();
    for set in sets {
        stale.extend(set?.iter().map(|id| id.as_bytes().to_vec()));
    }
    let stale: Vec<Vec<u8>> = stale.into_iter().collect();
    Ok(ProfileOutcome::content(retrieval::encode_stale_sids(&stale)))
}
