//! Joining: Join Request and Join Response (RFC 9594 section 4.3.1), and the keying material that the
//! response shares with GET and with rekeying messages.

use crate::cbor::{DecodeError, Label, MapReader, MapWriter, RawCbor, bytes, int, label, raw, text, uint};
use crate::creds::{self, GetCreds, PeerCred};
use crate::labels::groupcomm;
use crate::policies::GroupPolicies;
use crate::sign_info::{AlgorithmInfo, CredentialInfo, KdcDhCred};
use alloc::string::String;
use alloc::vec::Vec;
use zeroize::Zeroize;

/// Join Request: POST to a group-membership resource.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct JoinRequest {
    /// The bytes that `scope` wraps, as received: one scope entry. They are part of the proof of possession.
    pub scope: Option<Vec<u8>>,
    /// Which members' credentials are wanted.
    pub get_creds: Option<GetCreds>,
    /// The client's credential; empty where the KDC has it already.
    pub client_cred: Option<Vec<u8>>,
    /// N_C, the client's nonce for the KDC's proof of possession.
    pub cnonce: Option<Vec<u8>>,
    /// The proof of possession of the credential's private key.
    pub client_cred_verify: Option<Vec<u8>>,
    /// Where the client's certificate is to be found.
    pub creds_repo: Option<String>,
    /// Where the client takes requests of the KDC.
    pub control_uri: Option<String>,
    /// Parameters that are not known here, e.g. a profile's.
    pub extra: Vec<(Label, RawCbor)>,
}

impl JoinRequest {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a known field has a wrong form. Which fields must be there depends on the
    /// roles, so that is up to the KDC.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            scope: map.optional(groupcomm::SCOPE, bytes("scope"))?,
            get_creds: map.optional(groupcomm::GET_CREDS, GetCreds::from_item)?,
            client_cred: map.optional(groupcomm::CLIENT_CRED, bytes("client_cred"))?,
            cnonce: map.optional(groupcomm::CNONCE, bytes("cnonce"))?,
            client_cred_verify: map.optional(groupcomm::CLIENT_CRED_VERIFY, bytes("client_cred_verify"))?,
            creds_repo: map.optional(groupcomm::CREDS_REPO, text("creds_repo"))?,
            control_uri: map.optional(groupcomm::CONTROL_URI, text("control_uri"))?,
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(groupcomm::SCOPE, self.scope.as_deref());
        if let Some(get_creds) = &self.get_creds {
            get_creds.write(map.entry(groupcomm::GET_CREDS));
        }
        map.bytes(groupcomm::CLIENT_CRED, self.client_cred.as_deref());
        map.bytes(groupcomm::CNONCE, self.cnonce.as_deref());
        map.bytes(groupcomm::CLIENT_CRED_VERIFY, self.client_cred_verify.as_deref());
        map.text(groupcomm::CREDS_REPO, self.creds_repo.as_deref());
        map.text(groupcomm::CONTROL_URI, self.control_uri.as_deref());
        map.rest(&self.extra);
        map.finish()
    }
}

/// Keying material and what belongs to it: the answer of GET to a group or a node, the core of a Join
/// Response, and a rekeying message.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyDistribution {
    /// The key type of the group, `gkty`.
    pub gkty: Label,
    /// The keying material; its form is the key type's.
    pub key: RawCbor,
    /// The version of the keying material.
    pub num: i64,
    /// The application profile, by its registered number.
    pub ace_groupcomm_profile: Option<i64>,
    /// When the keying material ends, in seconds since 1970.
    pub exp: Option<u64>,
    /// In how many seconds it ends.
    pub exi: Option<u64>,
    /// The rekeying scheme; Point-to-Point where absent.
    pub rekeying_scheme: Option<i64>,
    /// Keying material for the rekeying scheme.
    pub mgt_key_material: Option<Vec<u8>>,
}

impl Drop for KeyDistribution {
    fn drop(&mut self) {
        self.key.zeroize();
        self.mgt_key_material.zeroize();
    }
}

impl core::fmt::Debug for KeyDistribution {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyDistribution")
            .field("gkty", &self.gkty)
            .field("num", &self.num)
            .field("exp", &self.exp)
            .field("exi", &self.exi)
            .finish_non_exhaustive()
    }
}

impl KeyDistribution {
    pub(crate) fn take(map: &mut MapReader<'_>) -> Result<Self, DecodeError> {
        let material = Self {
            gkty: map.required(groupcomm::GKTY, "gkty", label("gkty"))?,
            key: map.required(groupcomm::KEY, "key", raw)?,
            num: map.required(groupcomm::NUM, "num", int("num"))?,
            ace_groupcomm_profile: map.optional(groupcomm::ACE_GROUPCOMM_PROFILE, int("ace_groupcomm_profile"))?,
            exp: map.optional(groupcomm::EXP, uint("exp"))?,
            exi: map.optional(groupcomm::EXI, uint("exi"))?,
            rekeying_scheme: map.optional(groupcomm::REKEYING_SCHEME, int("rekeying_scheme"))?,
            mgt_key_material: map.optional(groupcomm::MGT_KEY_MATERIAL, bytes("mgt_key_material"))?,
        };
        if material.exp.is_some() && material.exi.is_none() {
            return Err(DecodeError::Missing("exi"));
        }
        Ok(material)
    }

    pub(crate) fn put(&self, map: &mut MapWriter) {
        self.gkty.write(map.entry(groupcomm::GKTY));
        map.raw(groupcomm::KEY, Some(&self.key));
        map.int(groupcomm::NUM, Some(self.num));
        map.int(groupcomm::ACE_GROUPCOMM_PROFILE, self.ace_groupcomm_profile);
        map.uint(groupcomm::EXP, self.exp);
        map.uint(groupcomm::EXI, self.exi);
        map.int(groupcomm::REKEYING_SCHEME, self.rekeying_scheme);
        map.bytes(groupcomm::MGT_KEY_MATERIAL, self.mgt_key_material.as_deref());
    }

    /// Reads the answer of GET to a group or a node.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form, `exp` without `exi` included.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::take(&mut MapReader::decode(payload)?)
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.put(&mut map);
        map.finish()
    }
}

/// The KDC's credential with the proof that it has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcCred {
    /// The KDC's credential, in the group's format.
    pub kdc_cred: Vec<u8>,
    /// N_KDC, over which the KDC proves possession of its key, with N_C.
    pub kdc_nonce: Vec<u8>,
    /// The proof of possession.
    pub kdc_cred_verify: Vec<u8>,
}

impl KdcCred {
    pub(crate) fn take(map: &mut MapReader<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(kdc_cred) = map.optional(groupcomm::KDC_CRED, bytes("kdc_cred"))? else { return Ok(None) };
        Ok(Some(Self {
            kdc_cred,
            kdc_nonce: map.required(groupcomm::KDC_NONCE, "kdc_nonce", bytes("kdc_nonce"))?,
            kdc_cred_verify: map.required(groupcomm::KDC_CRED_VERIFY, "kdc_cred_verify", bytes("kdc_cred_verify"))?,
        }))
    }

    pub(crate) fn put(&self, map: &mut MapWriter) {
        map.bytes(groupcomm::KDC_CRED, Some(&self.kdc_cred));
        map.bytes(groupcomm::KDC_NONCE, Some(&self.kdc_nonce));
        map.bytes(groupcomm::KDC_CRED_VERIFY, Some(&self.kdc_cred_verify));
    }

    /// Reads the answer of the kdc-cred resource.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::take(&mut MapReader::decode(payload)?)?.ok_or(DecodeError::Missing("kdc_cred"))
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.put(&mut map);
        map.finish()
    }
}

/// Join Response: 2.01 for a new member, 2.04 for one that joined before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResponse {
    /// The keying material, with what is the joiner's own in it.
    pub material: KeyDistribution,
    /// The members' credentials, where they were asked for.
    pub peers: Option<Vec<PeerCred>>,
    /// The group's policies, where it has any.
    pub group_policies: Option<GroupPolicies>,
    /// The KDC's credential and proof, where the group has one.
    pub kdc_cred: Option<KdcCred>,
    /// Where members take messages that rekey the whole group.
    pub control_group_uri: Option<String>,
    /// Parameters that are not known here, e.g. a profile's.
    pub extra: Vec<(Label, RawCbor)>,
}

impl JoinResponse {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            material: KeyDistribution::take(&mut map)?,
            peers: creds::take(&mut map)?,
            group_policies: map.optional(groupcomm::GROUP_POLICIES, GroupPolicies::from_item)?,
            kdc_cred: KdcCred::take(&mut map)?,
            control_group_uri: map.optional(groupcomm::CONTROL_GROUP_URI, text("control_group_uri"))?,
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.material.put(&mut map);
        if let Some(peers) = &self.peers {
            creds::put(peers, &mut map);
        }
        if let Some(policies) = &self.group_policies {
            policies.write(map.entry(groupcomm::GROUP_POLICIES));
        }
        if let Some(cred) = &self.kdc_cred {
            cred.put(&mut map);
        }
        map.text(groupcomm::CONTROL_GROUP_URI, self.control_group_uri.as_deref());
        map.rest(&self.extra);
        map.finish()
    }
}

/// The map in a 4.00 answer to a Join Request: what to do better (RFC 9594 section 4.3.1, Group OSCORE profile
/// section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct JoinRefusal {
    /// What the group's credentials are like.
    pub info: CredentialInfo,
    /// A new N_S, over which the next Join Request has to prove possession.
    pub kdcchallenge: Option<Vec<u8>>,
}

impl JoinRefusal {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            info: CredentialInfo {
                sign_info: map.optional(groupcomm::SIGN_INFO, AlgorithmInfo::list)?.unwrap_or_default(),
                ecdh_info: map.optional(groupcomm::ECDH_INFO, AlgorithmInfo::list)?.unwrap_or_default(),
                kdc_dh_creds: map.optional(groupcomm::KDC_DH_CREDS, KdcDhCred::list)?.unwrap_or_default(),
            },
            kdcchallenge: map.optional(groupcomm::KDCCHALLENGE, bytes("kdcchallenge"))?,
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.info.write(&mut map, [groupcomm::SIGN_INFO, groupcomm::ECDH_INFO, groupcomm::KDC_DH_CREDS]);
        map.bytes(groupcomm::KDCCHALLENGE, self.kdcchallenge.as_deref());
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    pub(crate) fn material() -> KeyDistribution {
        KeyDistribution {
            gkty: Label::Int(1),
            key: RawCbor::new(&hex("a1024101")).unwrap(),
            num: 3,
            ace_groupcomm_profile: Some(1),
            exp: Some(1_609_459_200),
            exi: Some(60),
            rekeying_scheme: Some(0),
            mgt_key_material: Some(vec![1]),
        }
    }

    /// The Join Requests of the Group OSCORE profile's registry notes: a minimal re-join and a monitor's.
    // Covers: KG-4.3.1-01
    #[test]
    fn requests_have_their_labels() {
        let rejoin = JoinRequest {
            scope: Some(hex("8262673106")),
            client_cred: Some(vec![]),
            cnonce: Some(hex("25a8991cd700ac01")),
            ..JoinRequest::default()
        };
        let bytes = hex("a3 03 458262673106 05 40 06 4825a8991cd700ac01");
        assert_eq!(rejoin.encode(), bytes);
        assert_eq!(JoinRequest::decode(&bytes), Ok(rejoin));
        let full = JoinRequest {
            scope: Some(vec![1]),
            get_creds: Some(GetCreds::All),
            client_cred: Some(vec![2]),
            cnonce: Some(vec![3]),
            client_cred_verify: Some(vec![4]),
            creds_repo: Some("coap://x".into()),
            control_uri: Some("coap://y".into()),
            extra: vec![(Label::Int(99), RawCbor::uint(1))],
        };
        assert_eq!(JoinRequest::decode(&full.encode()), Ok(full));
        assert_eq!(JoinRequest::decode(&[0xa0]), Ok(JoinRequest::default()));
        for bad in
            ["80", "a10360", "a10401", "a10501", "a106f6", "a1181801", "a118194101", "a1181a00", "a20341000341 00"]
        {
            assert!(JoinRequest::decode(&hex(bad)).is_err(), "{bad}");
        }
    }

    // Covers: KG-4.3.1-43
    #[test]
    fn responses_come_back_and_need_their_material() {
        let response = JoinResponse {
            material: material(),
            peers: Some(vec![PeerCred { cred: vec![1], roles: Some(RawCbor::uint(2)), id: vec![0] }]),
            group_policies: Some(GroupPolicies {
                sn_synchronization_method: Some(Label::Int(1)),
                key_update_check_interval: Some(3_600),
                expiration_delta: Some(0),
                extra: vec![(Label::Int(9), RawCbor::uint(1))],
            }),
            kdc_cred: Some(KdcCred { kdc_cred: vec![1], kdc_nonce: vec![2], kdc_cred_verify: vec![3] }),
            control_group_uri: Some("coap://[ff02::1]/ace-group/g".into()),
            extra: vec![(Label::Int(33), RawCbor::uint(1))],
        };
        assert_eq!(JoinResponse::decode(&response.encode()), Ok(response.clone()));
        let known = "b1 07 01 08 a1024101 09 03 0a 01 0b 1a5fee6600 0c 183c 14 00 181b 41010d 81 4101 0e 81 02 0f 81 4100 10
             a4 00 01 01 190e10 02 00 09 01 11 4101 12 4102 13 4103 181c 78 1c 636f61703a2f2f5b666630323a3a315d2f6163652d67726f75702f67 1821 01";
        assert_eq!(hex::encode(response.encode()), known.split_whitespace().collect::<String>());
        assert!(!response.group_policies.unwrap().is_empty() && GroupPolicies::default().is_empty());
        assert_eq!(KeyDistribution::decode(&material().encode()), Ok(material()));
        for (bad, error) in [
            ("a2080009 00", DecodeError::Missing("gkty")),
            ("a207010900", DecodeError::Missing("key")),
            ("a207010800", DecodeError::Missing("num")),
            ("a40701080009000b00", DecodeError::Missing("exi")),
        ] {
            assert_eq!(KeyDistribution::decode(&hex(bad)), Err(error));
        }
        assert!(JoinResponse::decode(&hex("a40701080009001141 00")).is_err(), "kdc_cred without a proof");
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = alloc::format!("{:?}", material());
        assert!(shown.contains("num: 3") && !shown.contains("key"), "{shown}");
    }

    #[test]
    fn refusals_and_credentials_come_back() {
        let refusal = JoinRefusal { kdcchallenge: Some(vec![1; 8]), info: CredentialInfo::default() };
        assert_eq!(hex::encode(refusal.encode()), "a1181e480101010101010101");
        assert_eq!(JoinRefusal::decode(&refusal.encode()), Ok(refusal));
        let cred = KdcCred { kdc_cred: vec![1], kdc_nonce: vec![2], kdc_cred_verify: vec![3] };
        assert_eq!(hex::encode(cred.encode()), "a311410112410213 4103".replace(' ', ""));
        assert_eq!(KdcCred::decode(&cred.encode()), Ok(cred));
        assert!(KdcCred::decode(&[0xa0]).is_err());
    }
}
