//! A member's side: the Join Request, and what the answer makes of it (sections 6.1 and 6.4 of the profile).

mod rules;

pub use rules::OscoreMember;

use crate::config::{GroupOscore, nonce_len};
use ace_groupcomm::Roles;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::member;
use ace_groupcomm::traits::profile::ApplicationProfile;
use ace_groupcomm_messages::labels::groupcomm_profile::COAP_GROUP_OSCORE_APP;
use ace_groupcomm_messages::labels::key_type::GROUP_OSCORE_INPUT_MATERIAL;
use ace_groupcomm_messages::{
    DecodeError, GetCreds, GroupOscoreInputMaterial, JoinRequest, JoinResponse, KdcCred, KeyDistribution, Label,
    PeerCred, ScopeEntry, pop,
};
use thiserror::Error;

/// Why a member does not take what the KDC sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The message cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The key type is not this profile's, or another profile is named.
    #[error("key type or profile is not that of an OSCORE group")]
    OtherProfile,
    /// The KDC's credential or its proof is missing.
    #[error("the KDC's credential or its proof is missing")]
    NoProof,
    /// The KDC has not proven that it has the key of its credential.
    #[error("the KDC's proof of possession does not verify")]
    WrongProof,
    /// A Sender ID is missing, is there for a monitor, or is too long.
    #[error("the Sender ID does not fit the roles or the algorithms")]
    SenderId,
    /// Nobody can tell when the keys end.
    #[error("the keys have no end")]
    NoEnd,
    /// Neither mode has both of its algorithms.
    #[error("no mode has both of its algorithms")]
    NoMode,
    /// A newer version has the Gid of the one that the member holds.
    #[error("the Gid is the same as before")]
    SameGid,
    /// Nobody joins with these roles.
    #[error("nobody joins with these roles: who monitors does nothing else, and a verifier is no member")]
    Roles,
    /// A proof could not be made.
    #[error("nothing can be signed")]
    Sign,
}

/// The Join Request of a node that is not a member yet. `challenge` is N_S, `cnonce` N_C, 8 new random bytes. A
/// monitor shows no credential.
///
/// # Errors
/// [`MemberError::Sign`].
pub fn join_request(
    gname: &str,
    roles: Roles,
    identity: &Identity,
    challenge: &[u8],
    cnonce: &[u8],
    get_creds: Option<GetCreds>,
) -> Result<JoinRequest, MemberError> {
    let scope = ScopeEntry { gname: gname.into(), permissions: GroupOscore.permissions(roles) };
    let identity = Some(identity).filter(|_| roles != crate::scope::MONITOR);
    member::join_request(&scope, identity, challenge, cnonce, get_creds).map_err(|_| MemberError::Sign)
}

/// A group as a member knows it, after all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What the Group OSCORE context is derived from; absent algorithms are not set.
    pub material: GroupOscoreInputMaterial,
    /// The version of the keying material.
    pub num: i64,
    /// In how many seconds it ends.
    pub exi: Option<u64>,
    /// When it ends, in seconds since 1970.
    pub exp: Option<u64>,
    /// The Group Manager's credential.
    pub kdc_cred: Vec<u8>,
    /// The other members' credentials, roles and Sender IDs, where they were asked for.
    pub peers: Vec<PeerCred>,
}

impl Joined {
    /// Whether the group mode can be used: both of its algorithms are set.
    #[must_use]
    pub fn has_group_mode(&self) -> bool {
        has_group_mode(&self.material)
    }

    /// Whether the pairwise mode can be used: both of its algorithms are set.
    #[must_use]
    pub fn has_pairwise_mode(&self) -> bool {
        has_pairwise_mode(&self.material)
    }
}

fn has_group_mode(material: &GroupOscoreInputMaterial) -> bool {
    material.gp_enc_alg.is_some() && material.sign.is_some()
}

fn has_pairwise_mode(material: &GroupOscoreInputMaterial) -> bool {
    material.alg.is_some() && material.ecdh.is_some()
}

/// The keying material in an answer of this profile.
///
/// # Errors
/// [`MemberError`] where it is another profile's, or gives no mode.
pub fn material(distribution: &KeyDistribution) -> Result<GroupOscoreInputMaterial, MemberError> {
    let other = |profile| profile != COAP_GROUP_OSCORE_APP;
    if distribution.gkty != Label::Int(GROUP_OSCORE_INPUT_MATERIAL)
        || distribution.ace_groupcomm_profile.is_some_and(other)
    {
        return Err(MemberError::OtherProfile);
    }
    let material = GroupOscoreInputMaterial::decode(&distribution.key)?;
    if !has_group_mode(&material) && !has_pairwise_mode(&material) {
        return Err(MemberError::NoMode);
    }
    Ok(material)
}

/// Checks that the KDC has the key of its credential, over the N_C of the latest Join Request.
///
/// # Errors
/// [`MemberError::WrongProof`].
pub fn check_kdc_cred(crypto: &dyn CryptoProvider, cred: &KdcCred, cnonce: &[u8]) -> Result<(), MemberError> {
    let key = PublicKey::of_kccs(SignatureAlgorithm::Ed25519, &cred.kdc_cred).ok_or(MemberError::WrongProof)?;
    let message = pop::kdc_input(cnonce, &cred.kdc_nonce);
    if crypto.verifies(&key, message, cred.kdc_cred_verify.clone()) { Ok(()) } else { Err(MemberError::WrongProof) }
}

/// Whether a Sender ID fits: a monitor has none, everybody else has one, no longer than the shortest nonce of the
/// group's algorithms allows (Group OSCORE section 2.2: six bytes less).
fn sender_id_fits(material: &GroupOscoreInputMaterial, roles: Roles) -> bool {
    let algorithms = [&material.gp_enc_alg, &material.alg];
    let nonce = |label: &Label| match label {
        Label::Int(number) => nonce_len(*number),
        Label::Text(_) => None,
    };
    let shortest = algorithms.into_iter().flatten().filter_map(nonce).min();
    match &material.group_sender_id {
        None => roles == crate::scope::MONITOR,
        Some(id) => {
            let longest = shortest.map_or(usize::MAX, |nonce| nonce.saturating_sub(6));
            roles != crate::scope::MONITOR && id.len() <= longest
        }
    }
}

/// What a Join Response gives, if all in it holds. `roles` are those that were asked for, `cnonce` is the N_C of the
/// request.
///
/// # Errors
/// [`MemberError`]; the node has not joined then.
pub fn joined(
    crypto: &dyn CryptoProvider,
    response: JoinResponse,
    roles: Roles,
    cnonce: &[u8],
) -> Result<Joined, MemberError> {
    let material = material(&response.material)?;
    if response.material.ace_groupcomm_profile.is_none() {
        return Err(MemberError::OtherProfile);
    }
    if !sender_id_fits(&material, roles) {
        return Err(MemberError::SenderId);
    }
    if response.material.exi.is_none() {
        return Err(MemberError::NoEnd);
    }
    let cred = response.kdc_cred.as_ref().ok_or(MemberError::NoProof)?;
    check_kdc_cred(crypto, cred, cnonce)?;
    Ok(Joined {
        material,
        num: response.material.num,
        exi: response.material.exi,
        exp: response.material.exp,
        kdc_cred: cred.kdc_cred.clone(),
        peers: response.peers.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupOscore;
    use crate::scope::{MONITOR, REQUESTER};
    use ace_backend_aws_lc::AwsLc;
    use ace_groupcomm::Secret;
    use ace_groupcomm::config::{ConfigMap, ConfigValue};
    use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, SigningKey};
    use ace_groupcomm::traits::member::MemberRules;
    use ace_groupcomm::traits::profile::{ApplicationProfile, KeyAudience};
    use ace_groupcomm_messages::RawCbor;
    use std::sync::Arc;

    fn signer(byte: u8) -> Arc<dyn SigningKey> {
        AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![byte; 32])).unwrap()
    }

    fn response(cnonce: &[u8]) -> JoinResponse {
        let mut config = ConfigMap::default();
        config.insert("gm_key", ConfigValue::Text("22".repeat(32)));
        let rules = GroupOscore.configure("g", config, &AwsLc).unwrap();
        let secret = rules.material().fresh(&|_| [1; 32]);
        let gm = Identity::kccs("gm", signer(0x22));
        let message = pop::kdc_input(cnonce, &[4; 8]);
        let Some(CryptoOutput::Signature(kdc_cred_verify)) =
            AwsLc.run(&[CryptoJob::Sign { key: gm.key, message }]).pop()
        else {
            panic!("no signature");
        };
        JoinResponse {
            material: KeyDistribution {
                gkty: Label::Int(1),
                key: rules
                    .material()
                    .key(
                        &secret,
                        &b"\x01".into(),
                        KeyAudience::Node { roles: REQUESTER, sender_id: Some(&b"\0".into()) },
                    )
                    .unwrap(),
                num: 0,
                ace_groupcomm_profile: Some(1),
                exp: Some(9),
                exi: Some(9),
                rekeying_scheme: None,
                mgt_key_material: None,
            },
            peers: None,
            group_policies: None,
            kdc_cred: Some(KdcCred { kdc_cred: gm.cred, kdc_nonce: vec![4; 8], kdc_cred_verify }),
            control_group_uri: None,
            extra: vec![],
        }
    }

    // Covers: KG-4.3.1-34, GO-6.4-01, GO-6.4-02, TH-7-06/kdc-proof
    // Covers: GO-12-11
    #[test]
    fn a_join_counts_only_when_the_kdc_has_proven_itself() {
        let good = joined(&AwsLc, response(&[7; 8]), REQUESTER, &[7; 8]).unwrap();
        assert!(good.has_group_mode() && good.has_pairwise_mode());
        assert_eq!((good.num, good.material.group_sender_id.as_deref()), (0, Some(&[0][..])));
        assert_eq!(
            joined(&AwsLc, response(&[7; 8]), REQUESTER, &[8; 8]).unwrap_err(),
            MemberError::WrongProof,
            "another N_C"
        );
        let with = |change: &dyn Fn(&mut JoinResponse)| {
            let mut response = response(&[7; 8]);
            change(&mut response);
            joined(&AwsLc, response, REQUESTER, &[7; 8]).unwrap_err()
        };
        assert_eq!(with(&|r| r.kdc_cred = None), MemberError::NoProof);
        assert_eq!(with(&|r| r.kdc_cred.as_mut().unwrap().kdc_cred_verify[0] ^= 1), MemberError::WrongProof);
        assert_eq!(with(&|r| r.kdc_cred.as_mut().unwrap().kdc_cred = vec![0xa0]), MemberError::WrongProof);
        assert_eq!(with(&|r| r.material.gkty = Label::Int(2)), MemberError::OtherProfile);
        assert_eq!(with(&|r| r.material.ace_groupcomm_profile = Some(2)), MemberError::OtherProfile);
        assert_eq!(with(&|r| r.material.ace_groupcomm_profile = None), MemberError::OtherProfile);
        assert_eq!(with(&|r| (r.material.exi, r.material.exp) = (None, None)), MemberError::NoEnd);
        let sender = |id: Option<&[u8]>, roles| {
            let mut response = response(&[7; 8]);
            let mut material = GroupOscoreInputMaterial::decode(&response.material.key).unwrap();
            material.group_sender_id = id.map(<[u8]>::to_vec);
            response.material.key = material.encode();
            joined(&AwsLc, response, roles, &[7; 8]).map(|joined| joined.material.group_sender_id.clone())
        };
        assert_eq!(sender(Some(&[1; 7]), REQUESTER), Ok(Some(vec![1; 7])));
        assert_eq!(sender(Some(&[1; 8]), REQUESTER), Err(MemberError::SenderId), "longer than the nonce allows");
        assert_eq!(sender(None, REQUESTER), Err(MemberError::SenderId));
        assert_eq!(sender(None, MONITOR), Ok(None));
        assert_eq!(sender(Some(&[1]), MONITOR), Err(MemberError::SenderId));
        let mut one_mode = response(&[7; 8]);
        let mut material = GroupOscoreInputMaterial::decode(&one_mode.material.key).unwrap();
        material.sign = None;
        one_mode.material.key = material.encode();
        let one_mode = joined(&AwsLc, one_mode, REQUESTER, &[7; 8]).unwrap();
        assert_eq!((one_mode.has_group_mode(), one_mode.has_pairwise_mode()), (false, true));
        let strip = |response: &mut JoinResponse| {
            let mut material = GroupOscoreInputMaterial::decode(&response.material.key).unwrap();
            (material.sign, material.alg) = (None, None);
            response.material.key = material.encode();
        };
        assert_eq!(with(&strip), MemberError::NoMode);
    }

    #[test]
    fn roles_that_were_not_granted_are_not_taken() {
        let roles = Roles(REQUESTER.0 | crate::scope::RESPONDER.0);
        let member = OscoreMember {
            gname: "g".into(),
            roles,
            identity: Identity::kccs("lamp", signer(3)),
            crypto: Arc::new(AwsLc),
        };
        let granted = |permissions| ScopeEntry { gname: "g".into(), permissions };
        let narrow = member.narrowed(&granted(RawCbor::uint(REQUESTER.0))).unwrap();
        assert_eq!(narrow.scope(), granted(RawCbor::uint(REQUESTER.0)));
        let more = member.narrowed(&granted(RawCbor::uint(30))).unwrap();
        assert_eq!(more.scope(), member.scope(), "not more than was asked for");
        for other in [RawCbor::uint(crate::scope::MONITOR.0), RawCbor::uint(u64::MAX), RawCbor::bytes(&[1])] {
            assert!(member.narrowed(&granted(other)).is_err());
        }
    }

    // Covers: TH-7-01/state-tuple
    #[test]
    fn a_key_is_named_by_its_secrets_gid_and_sender_id() {
        let member = OscoreMember {
            gname: "g".into(),
            roles: REQUESTER,
            identity: Identity::kccs("lamp", signer(3)),
            crypto: Arc::new(AwsLc),
        };
        let material = || GroupOscoreInputMaterial::decode(&response(&[7; 8]).material.key).unwrap();
        let name = |change: &dyn Fn(&mut GroupOscoreInputMaterial)| {
            let mut changed = material();
            change(&mut changed);
            member.key_name(&changed.encode())
        };
        let same = name(&|_| ()).unwrap();
        assert_eq!((same.len(), name(&|m| m.cred_fmt = None)), (16, Some(same.clone())));
        let changes: [&dyn Fn(&mut GroupOscoreInputMaterial); 4] =
            [&|m| m.ms[0] ^= 1, &|m| m.salt = Some(vec![1]), &|m| m.context_id.push(1), &|m| {
                m.group_sender_id = Some(vec![9])
            }];
        for change in changes {
            assert!(name(change).is_some_and(|other| other != same));
        }
        assert_eq!(name(&|m| m.group_sender_id = None), None, "a monitor sends nothing");
        assert_eq!(member.own_id(&material().encode()), Some(vec![0]));
        assert_eq!((member.own_id(&RawCbor::uint(1)), member.key_name(&RawCbor::uint(1))), (None, None));
        let mut distribution = response(&[7; 8]).material.clone();
        assert!(member.key(&distribution).is_ok());
        let mut without = material();
        without.group_sender_id = None;
        distribution.key = without.encode();
        assert!(member.key(&distribution).is_err());
    }

    // Covers: GO-6.1-06, GO-3-01
    // Covers: GO-12-07, GO-6.1-04
    #[test]
    fn a_monitor_shows_no_credential() {
        let identity = Identity::kccs("lamp", signer(3));
        let monitor = join_request("g", crate::scope::MONITOR, &identity, &[], &[1; 8], None).unwrap();
        assert_eq!((monitor.client_cred, monitor.client_cred_verify, monitor.get_creds), (None, None, None));
        let talker =
            join_request("g", crate::scope::REQUESTER, &identity, &[2; 8], &[1; 8], Some(GetCreds::All)).unwrap();
        let scope = Some(vec![0x82, 0x61, b'g', 0x02]);
        assert_eq!((talker.client_cred, &talker.scope), (Some(identity.cred), &scope));
        assert_eq!(talker.client_cred_verify.as_ref().map(Vec::len), Some(64));
        assert_eq!((talker.get_creds, talker.cnonce), (Some(GetCreds::All), Some(vec![1; 8])));
        let member = OscoreMember {
            gname: "g".into(),
            roles: REQUESTER,
            identity: Identity::kccs("lamp", signer(3)),
            crypto: Arc::new(AwsLc),
        };
        let asked = member.join(&[2; 8], &[1; 8], None).unwrap();
        assert_eq!((asked.scope, asked.client_cred_verify), (scope, talker.client_cred_verify));
        assert_eq!(asked.get_creds, None);
    }

    // Covers: GO-6.1-02
    #[test]
    fn nobody_asks_for_roles_that_do_not_go_together() {
        use crate::scope::{RESPONDER, VERIFIER};
        let identity = Identity::kccs("lamp", signer(3));
        let with = |roles| {
            let lamp = OscoreMember { gname: "g".into(), roles, identity: identity.clone(), crypto: Arc::new(AwsLc) };
            lamp.join(&[2; 8], &[1; 8], None)
        };
        for roles in [REQUESTER, RESPONDER, Roles(REQUESTER.0 | RESPONDER.0), MONITOR] {
            assert!(with(roles).is_ok(), "{roles:?}");
        }
        let all = REQUESTER.0 | RESPONDER.0;
        for roles in
            [REQUESTER.0 | MONITOR.0, RESPONDER.0 | MONITOR.0, all | MONITOR.0, VERIFIER.0, all | VERIFIER.0, 0]
        {
            assert_eq!(with(Roles(roles)), Err(member::Unsuitable::new(MemberError::Roles)), "{roles}");
        }
    }
}
