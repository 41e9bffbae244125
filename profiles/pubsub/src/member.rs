//! A member's side: the Join Request, and what the answers make of it (sections 4 and 5 of the profile).

use crate::config::Pubsub;
use crate::scope::{PUBLISHER, SUBSCRIBER};
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::member::{GroupJoined, KeyPart, MemberRules, Unsuitable};
use ace_groupcomm::traits::profile::ApplicationProfile;
use ace_groupcomm::{Roles, Secret};
use ace_groupcomm_messages::labels::groupcomm::GROUP_SENDER_ID;
use ace_groupcomm_messages::labels::key_type::GROUP_PUBSUB_KEYING_MATERIAL;
use ace_groupcomm_messages::{
    DecodeError, GetCreds, JoinResponse, KeyDistribution, Label, PubsubGroupKey, PubsubKeyingMaterial, RawCbor,
};
use ace_oscore::Aead;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use thiserror::Error;

/// Length of the name of a key.
const KEY_NAME: usize = 16;

/// Why a member does not take what the KDC sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The message cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The key type is not this profile's, or another profile is named.
    #[error("key type or profile is not that of a security group of this profile")]
    OtherProfile,
    /// The encryption algorithm is not known, or key or Base IV has another length than it asks for.
    #[error("the group key does not fit its algorithm")]
    GroupKey,
    /// The signature algorithm of the group is not that of the member's key.
    #[error("the group signs with another algorithm")]
    OtherSignatures,
    /// A Sender ID is missing, is there for who does not publish, or is too long.
    #[error("the Sender ID does not fit the roles or the algorithm")]
    SenderId,
    /// Nobody can tell when the keys end.
    #[error("the keys have no end")]
    NoEnd,
    /// A newer version has the Gid of the one that the member holds.
    #[error("the Gid is the same as before")]
    SameGid,
}

impl From<MemberError> for Unsuitable {
    fn from(error: MemberError) -> Self {
        Self::new(error)
    }
}

/// A member of one security group.
#[derive(Clone)]
pub struct PubsubMember {
    /// The profile: for a broker over CoAP, or over MQTT.
    pub profile: Pubsub,
    /// The GROUPNAME.
    pub gname: String,
    /// The roles to take.
    pub roles: Roles,
    /// How the group signs.
    pub sign_alg: SignatureAlgorithm,
    /// Who it is in the group, where it publishes.
    pub identity: Identity,
    /// What verifies for it.
    pub crypto: Arc<dyn CryptoProvider>,
}

impl std::fmt::Debug for PubsubMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { profile, gname, roles, identity, .. } = self;
        f.debug_struct("PubsubMember")
            .field("profile", profile)
            .field("gname", gname)
            .field("roles", roles)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

/// The algorithm of a group key, where its lengths are those that it asks for.
fn aead(key: &PubsubGroupKey) -> Result<Aead, MemberError> {
    let known = match key.alg {
        Label::Int(number) => Aead::from_cose(number),
        Label::Text(_) => None,
    };
    known
        .filter(|aead| (key.k.len(), key.base_iv.len()) == (aead.key_len(), aead.nonce_len()))
        .ok_or(MemberError::GroupKey)
}

impl PubsubMember {
    /// The keying material in an answer of this profile, checked, and whole.
    fn material(&self, distribution: &KeyDistribution) -> Result<PubsubKeyingMaterial, MemberError> {
        let other = |profile| profile != self.profile.number();
        if distribution.gkty != Label::Int(GROUP_PUBSUB_KEYING_MATERIAL)
            || distribution.ace_groupcomm_profile.is_some_and(other)
        {
            return Err(MemberError::OtherProfile);
        }
        Ok(PubsubKeyingMaterial::decode(&distribution.key)?)
    }

    fn check(&self, material: &PubsubKeyingMaterial) -> Result<(), MemberError> {
        let aead = aead(&material.group_key)?;
        let signs = material.sign.as_ref().map(|sign| &sign.algorithm);
        if signs != Some(&Label::Int(self.sign_alg.number())) {
            return Err(MemberError::OtherSignatures);
        }
        let fits = match &material.group_sender_id {
            Some(id) => self.roles.meets(PUBLISHER) && (1..=aead.max_id_len()).contains(&id.len()),
            None => !self.roles.meets(PUBLISHER),
        };
        if fits { Ok(()) } else { Err(MemberError::SenderId) }
    }

    /// What is held, with this in the place of what it says.
    fn merged(
        &self,
        mut held: PubsubKeyingMaterial,
        told: PubsubKeyingMaterial,
    ) -> Result<PubsubKeyingMaterial, MemberError> {
        if told.group_key.kid == held.group_key.kid {
            return Err(MemberError::SameGid);
        }
        held.group_key = told.group_key.clone();
        held.cred_fmt = told.cred_fmt.or(held.cred_fmt);
        if told.sign.is_some() {
            held.sign = told.sign.clone();
        }
        if told.group_sender_id.is_some() {
            held.group_sender_id = told.group_sender_id.clone();
        }
        self.check(&held)?;
        Ok(held)
    }
}

impl MemberRules for PubsubMember {
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
        self.registered()
    }

    fn crypto(&self) -> &dyn CryptoProvider {
        &*self.crypto
    }

    fn identity(&self) -> Option<&Identity> {
        Some(&self.identity).filter(|_| self.roles.meets(PUBLISHER))
    }

    /// Who reads needs the credentials of those that publish.
    fn get_creds(&self) -> Option<GetCreds> {
        self.roles.meets(SUBSCRIBER).then_some(GetCreds::All)
    }

    fn key_of(&self, cred: &[u8]) -> Option<PublicKey> {
        PublicKey::of_kccs(self.sign_alg, cred)
    }

    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let material = self.material(distribution)?;
        self.check(&material)?;
        Ok(material.encode())
    }

    fn joined(&self, response: JoinResponse, cnonce: &[u8]) -> Result<GroupJoined, Unsuitable> {
        if response.material.ace_groupcomm_profile.is_none() {
            return Err(MemberError::OtherProfile.into());
        }
        if response.material.exi.is_none() {
            return Err(MemberError::NoEnd.into());
        }
        let kdc = response.kdc_cred.as_ref().ok_or_else(|| Unsuitable::new("the KDC has not proven itself"))?;
        self.kdc_proven(kdc, cnonce)?;
        let key = self.key(&response.material)?;
        Ok(GroupJoined::new(response, key))
    }

    /// A rekeying message has the group key alone (section 5); an observed resource has all but the Sender ID.
    fn rekeyed(&self, held: &RawCbor, told: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        let held = PubsubKeyingMaterial::decode(held)?;
        let told = self.material(told)?;
        Ok(self.merged(held, told)?.encode())
    }

    fn renewed(&self, held: &RawCbor, answer: &[u8]) -> Result<RawCbor, Unsuitable> {
        let answer = RawCbor::new(answer)?.to_map().ok_or(MemberError::SenderId)?;
        let label = Label::Int(GROUP_SENDER_ID);
        let sender_id = answer.into_iter().find(|(name, _)| *name == label).and_then(|(_, id)| id.to_byte_string());
        let mut material = PubsubKeyingMaterial::decode(held)?;
        material.group_sender_id = Some(sender_id.ok_or(MemberError::SenderId)?);
        self.check(&material)?;
        Ok(material.encode())
    }

    /// No message of the profile has stale identifiers.
    fn names_who_left(&self) -> bool {
        false
    }

    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>> {
        PubsubKeyingMaterial::decode(key).ok()?.group_sender_id.clone()
    }

    fn key_parts(&self, key: &RawCbor) -> Result<Vec<(&'static str, KeyPart)>, Unsuitable> {
        let material = PubsubKeyingMaterial::decode(key)?;
        let group_key = &material.group_key;
        let digest =
            RawCbor::array(&[&group_key.k, &group_key.base_iv, &group_key.kid].map(|part| RawCbor::bytes(part)));
        Ok(vec![
            ("gid", KeyPart::Bytes(group_key.kid.clone())),
            ("sender_id", material.group_sender_id.as_deref().into()),
            ("alg", Some(&group_key.alg).into()),
            ("cred_fmt", material.cred_fmt.map_or(KeyPart::Absent, KeyPart::Int)),
            ("sign_alg", material.sign.as_ref().map(|sign| &sign.algorithm).into()),
            ("cred", self.identity().map(|identity| identity.cred.as_slice()).into()),
            ("key_digest", KeyPart::Bytes(Sha256::digest(digest.as_bytes()).to_vec())),
            ("base_iv", KeyPart::Secret(Secret::from(group_key.base_iv.as_slice()))),
            ("k", KeyPart::Secret(Secret::from(group_key.k.as_slice()))),
        ])
    }

    fn key_name(&self, key: &RawCbor) -> Option<Vec<u8>> {
        let material = PubsubKeyingMaterial::decode(key).ok()?;
        let parts = [&material.group_key.k[..], &material.group_key.kid, material.group_sender_id.as_deref()?];
        let array = RawCbor::array(&parts.map(RawCbor::bytes));
        Some(Sha256::digest(array.as_bytes()).iter().take(KEY_NAME).copied().collect())
    }
}
