//! What a member does with its keying material, as an application profile's [`MemberRules`]: keys of a join, a rekeying and a renewal.

use super::{MemberError, has_group_mode, has_pairwise_mode, join_request, joined, material, sender_id_fits};
use crate::config::GroupOscore;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::member::{GroupJoined, KeyPart, MemberRules, Unsuitable, VerificationParts};
use ace_groupcomm::traits::profile::ApplicationProfile;
use ace_groupcomm::{Roles, Secret};
use ace_groupcomm_messages::labels::cose_alg;
use ace_groupcomm_messages::labels::groupcomm::GROUP_SENDER_ID;
use ace_groupcomm_messages::labels::key_type::GROUP_OSCORE_INPUT_MATERIAL;
use ace_groupcomm_messages::labels::osc;
use ace_groupcomm_messages::paths::{ACTIVE, STALE_SIDS, VERIF_DATA};
use ace_groupcomm_messages::{
    GetCreds, GroupOscoreInputMaterial, JoinRequest, JoinResponse, KeyDistribution, Label, RawCbor, VerifData,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Length of the name of a key.
const KEY_NAME: usize = 16;

/// The SHA-256 of ms, salt and Gid, as a CBOR array of byte strings: equal keys have equal digests, and nobody learns the key
/// from it.
fn key_digest(material: &GroupOscoreInputMaterial) -> Vec<u8> {
    let parts = [&material.ms[..], material.salt.as_deref().unwrap_or_default(), &material.context_id];
    Sha256::digest(RawCbor::array(&parts.map(RawCbor::bytes)).as_bytes()).to_vec()
}

/// A member of one OSCORE group.
#[derive(Clone)]
pub struct OscoreMember {
    /// The GROUPNAME.
    pub gname: String,
    /// The roles to take.
    pub roles: Roles,
    /// Who it is in the group.
    pub identity: Identity,
    /// What verifies for it.
    pub crypto: Arc<dyn CryptoProvider>,
}

impl std::fmt::Debug for OscoreMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gname, roles, identity, .. } = self;
        f.debug_struct("OscoreMember")
            .field("gname", gname)
            .field("roles", roles)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

impl MemberRules for OscoreMember {
    fn gname(&self) -> &str {
        &self.gname
    }

    fn roles(&self) -> Roles {
        self.roles
    }

    fn with_roles(&self, roles: Roles) -> Arc<dyn MemberRules> {
        Arc::new(Self { roles, ..self.clone() })
    }

    fn profile(&self) -> &'static dyn ApplicationProfile {
        &GroupOscore
    }

    fn crypto(&self) -> &dyn CryptoProvider {
        &*self.crypto
    }

    fn identity(&self) -> Option<&Identity> {
        Some(&self.identity).filter(|_| self.roles != crate::scope::MONITOR)
    }

    fn key_of(&self, cred: &[u8]) -> Option<PublicKey> {
        PublicKey::of_kccs(SignatureAlgorithm::Ed25519, cred)
    }

    fn join(&self, challenge: &[u8], cnonce: &[u8], get_creds: Option<GetCreds>) -> Result<JoinRequest, Unsuitable> {
        if !crate::scope::may_join(self.roles) {
            return Err(Unsuitable::new(MemberError::Roles));
        }
        let join = join_request(&self.gname, self.roles, &self.identity, challenge, cnonce, get_creds);
        Ok(JoinRequest { extra: self.join_parameters(), ..join.map_err(Unsuitable::new)? })
    }

    fn joined(&self, response: JoinResponse, cnonce: &[u8]) -> Result<GroupJoined, Unsuitable> {
        let joined = joined(&*self.crypto, response, self.roles, cnonce).map_err(Unsuitable::new)?;
        Ok(GroupJoined {
            key: joined.material.encode(),
            num: joined.num,
            exp: joined.exp,
            exi: joined.exi,
            kdc_cred: joined.kdc_cred,
            peers: joined.peers,
        })
    }

    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let material = material(distribution).map_err(Unsuitable::new)?;
        if sender_id_fits(&material, self.roles) {
            Ok(material.encode())
        } else {
            Err(Unsuitable::new(MemberError::SenderId))
        }
    }

    /// A rekeying message has `ms`, `contextId` and maybe `salt` (section 11.1); an observed resource has all of it.
    fn rekeyed(&self, held: &RawCbor, told: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        if told.gkty != Label::Int(GROUP_OSCORE_INPUT_MATERIAL) {
            return Err(Unsuitable::new(MemberError::OtherProfile));
        }
        let mut material = GroupOscoreInputMaterial::decode(held)?;
        let mut new = GroupOscoreInputMaterial::decode(&told.key)?;
        if new.context_id == material.context_id {
            return Err(Unsuitable::new(MemberError::SameGid));
        }
        let mut told = told.clone();
        if has_group_mode(&new) || has_pairwise_mode(&new) {
            // All of it, but for the member's own where it is that of all members.
            if new.group_sender_id.is_none() {
                new.group_sender_id = material.group_sender_id.take();
            }
            told.key = new.encode();
            return self.key(&told);
        }
        material.ms = std::mem::take(&mut new.ms);
        if new.salt.is_some() {
            material.salt = new.salt.take();
        }
        material.context_id = std::mem::take(&mut new.context_id);
        told.key = material.encode();
        self.key(&told)
    }

    /// The group's algorithms without a Master Secret (draft-ietf-ace-oscore-gm-admin section 6.6.3).
    fn is_configuration(&self, told: &KeyDistribution) -> bool {
        let names =
            |name: i64| told.key.to_map().is_some_and(|map| map.iter().any(|(label, _)| *label == Label::Int(name)));
        told.gkty == Label::Int(GROUP_OSCORE_INPUT_MATERIAL) && names(osc::CRED_FMT) && !names(osc::MS)
    }

    fn status_resource(&self) -> Option<&'static str> {
        Some(ACTIVE)
    }

    fn renewed(&self, held: &RawCbor, answer: &[u8]) -> Result<RawCbor, Unsuitable> {
        let answer = RawCbor::new(answer)?.to_map().ok_or_else(|| Unsuitable::new(MemberError::SenderId))?;
        let label = Label::Int(GROUP_SENDER_ID);
        let sender_id = answer.into_iter().find(|(name, _)| *name == label).and_then(|(_, id)| id.to_byte_string());
        let sender_id = sender_id.ok_or_else(|| Unsuitable::new(MemberError::SenderId))?;
        let mut material = GroupOscoreInputMaterial::decode(held)?;
        material.group_sender_id = Some(sender_id);
        if sender_id_fits(&material, self.roles) {
            Ok(material.encode())
        } else {
            Err(Unsuitable::new(MemberError::SenderId))
        }
    }

    fn stale_resource(&self) -> Option<&'static str> {
        Some(STALE_SIDS)
    }

    fn verification_resource(&self) -> Option<&'static str> {
        Some(VERIF_DATA)
    }

    /// Section 9.6: what verifies signatures of the group, and no secret of its members.
    fn verification_parts(&self, answer: &[u8]) -> Result<VerificationParts, Unsuitable> {
        let data = VerifData::decode(answer)?;
        if data.gkty != Label::Int(GROUP_OSCORE_INPUT_MATERIAL) {
            return Err(Unsuitable::new(MemberError::OtherProfile));
        }
        let fields = data.key.to_map().ok_or_else(|| Unsuitable::new(MemberError::OtherProfile))?;
        let field = |number| fields.iter().find(|(name, _)| *name == Label::Int(number)).map(|(_, value)| value);
        let gid = field(osc::CONTEXT_ID).and_then(RawCbor::to_byte_string);
        let number = |number| match field(number).and_then(|value| value.as_int().map(KeyPart::Int)) {
            Some(part) => part,
            None => field(number).and_then(RawCbor::to_text).map_or(KeyPart::Absent, KeyPart::Text),
        };
        let parts = vec![
            ("gid", KeyPart::Bytes(gid.ok_or_else(|| Unsuitable::new(MemberError::OtherProfile))?)),
            ("cred_fmt", number(osc::CRED_FMT)),
            ("gp_enc_alg", number(osc::GP_ENC_ALG)),
            ("sign_alg", number(osc::SIGN_ALG)),
            ("sign_enc_key", KeyPart::Secret(Secret::from(data.sign_enc_key.as_slice()))),
        ];
        Ok(VerificationParts { num: data.num, parts })
    }

    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>> {
        GroupOscoreInputMaterial::decode(key).ok()?.group_sender_id.clone()
    }

    fn key_parts(&self, key: &RawCbor) -> Result<Vec<(&'static str, KeyPart)>, Unsuitable> {
        let material = GroupOscoreInputMaterial::decode(key)?;
        let salt = material.salt.as_deref().unwrap_or_default();
        let hkdf = material.hkdf.as_ref().map_or(KeyPart::Int(cose_alg::HMAC_256_256), |hkdf| Some(hkdf).into());
        Ok(vec![
            ("gid", KeyPart::Bytes(material.context_id.clone())),
            ("sender_id", material.group_sender_id.as_deref().into()),
            ("hkdf", hkdf),
            ("cred_fmt", material.cred_fmt.map_or(KeyPart::Absent, KeyPart::Int)),
            ("gp_enc_alg", material.gp_enc_alg.as_ref().into()),
            ("sign_alg", material.sign.as_ref().map(|sign| &sign.algorithm).into()),
            ("alg", material.alg.as_ref().into()),
            ("ecdh_alg", material.ecdh.as_ref().map(|ecdh| &ecdh.algorithm).into()),
            ("cred", KeyPart::Bytes(self.identity.cred.clone())),
            ("key_digest", KeyPart::Bytes(key_digest(&material))),
            ("ms", KeyPart::Secret(Secret::from(material.ms.as_slice()))),
            ("salt", KeyPart::Secret(Secret::from(salt))),
        ])
    }

    fn key_name(&self, key: &RawCbor) -> Option<Vec<u8>> {
        let material = GroupOscoreInputMaterial::decode(key).ok()?;
        let sender_id = material.group_sender_id.as_deref()?;
        let salt = material.salt.as_deref().unwrap_or_default();
        let parts = [&material.ms[..], salt, &material.context_id, sender_id];
        let array = RawCbor::array(&parts.map(RawCbor::bytes));
        Some(Sha256::digest(array.as_bytes()).iter().take(KEY_NAME).copied().collect())
    }
}
