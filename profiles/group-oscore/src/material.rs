//! The secrets of an epoch, and the Group_OSCORE_Input_Material that shows them (section 6.3 of the profile).

use crate::config::key_len;
use crate::rules::OscoreGroup;
use ace_groupcomm::traits::profile::{KeyAudience, KeyingMaterialProducer};
use ace_groupcomm::{Gid, Secret};
use ace_groupcomm_messages::labels::key_type::GROUP_OSCORE_INPUT_MATERIAL;
use ace_groupcomm_messages::labels::{cose_alg, osc};
use ace_groupcomm_messages::{GroupOscoreInputMaterial, Label, RawCbor};
use ace_oscore::Hkdf;
use zeroize::Zeroizing;

/// Length of the Master Secret: that of the strongest key it gives.
pub(crate) const MS_LEN: usize = 32;
/// Length of the Master Salt.
const SALT_LEN: usize = 8;

impl KeyingMaterialProducer for OscoreGroup {
    fn key_type(&self) -> Label {
        Label::Int(GROUP_OSCORE_INPUT_MATERIAL)
    }

    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        let ms = random("Master Secret");
        let salt = random("Master Salt");
        let length = if self.needs_long_secret() { MS_LEN } else { 16 };
        Secret::new(salt.iter().take(SALT_LEN).chain(ms.iter().take(length)).copied().collect())
    }

    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        let (salt, ms) = secret.expose().split_at_checked(SALT_LEN)?;
        let sender_id = match audience {
            // What members know from before is left out (section 11.1 of the profile).
            KeyAudience::Rekeying => {
                let map = [
                    (Label::Int(osc::MS), RawCbor::bytes(ms)),
                    (Label::Int(osc::SALT), RawCbor::bytes(salt)),
                    (Label::Int(osc::CONTEXT_ID), RawCbor::bytes(gid.as_bytes())),
                ];
                return RawCbor::map(&map);
            }
            KeyAudience::Group => None,
            KeyAudience::Node { sender_id, .. } => sender_id,
            // Somebody to whom this version has nothing to show.
            _ => return None,
        };
        let material = GroupOscoreInputMaterial {
            ms: ms.to_vec(),
            hkdf: self.hkdf_parameter(),
            alg: self.pairwise.as_ref().map(|pairwise| Label::Int(pairwise.alg)),
            salt: Some(salt.to_vec()),
            context_id: gid.as_bytes().to_vec(),
            group_sender_id: sender_id.map(|id| id.as_bytes().to_vec()),
            cred_fmt: Some(self.cred_fmt),
            gp_enc_alg: Some(Label::Int(self.gp_enc_alg)),
            sign: Some(self.sign_parameters()),
            ecdh: self.pairwise.as_ref().map(|pairwise| self.ecdh_parameters(pairwise)),
        };
        Some(material.encode())
    }

    fn configuration(&self) -> Option<RawCbor> {
        let ecdh = self.pairwise.as_ref().map(|pairwise| self.ecdh_parameters(pairwise));
        let ecdh_params = ecdh.map(|ecdh| RawCbor::array(&ecdh.parameters));
        RawCbor::map(&self.algorithms(ecdh_params))
    }
}

impl OscoreGroup {
    /// What a `key` object says of the group's algorithms, HKDF first; with the parameters of the key agreement where these are given.
    fn algorithms(&self, ecdh_params: Option<RawCbor>) -> Vec<(Label, RawCbor)> {
        let sign = self.sign_parameters();
        let int = |label, value| (Label::Int(label), RawCbor::int(value));
        let mut map = vec![
            int(osc::HKDF, self.hkdf),
            int(osc::CRED_FMT, self.cred_fmt),
            int(osc::GP_ENC_ALG, self.gp_enc_alg),
            int(osc::SIGN_ALG, cose_alg::EDDSA),
            (Label::Int(osc::SIGN_PARAMS), RawCbor::array(&sign.parameters)),
        ];
        if let Some(pairwise) = &self.pairwise {
            map.extend([int(osc::ALG, pairwise.alg), int(osc::ECDH_ALG, pairwise.ecdh_alg)]);
        }
        map.extend(ecdh_params.map(|parameters| (Label::Int(osc::ECDH_PARAMS), parameters)));
        map
    }

    /// What a verifier is shown: the `key` object without a secret (section 9.6 of the profile), and the Signature Encryption Key
    /// (Group OSCORE section 2.1.9). `None` where the secrets cannot be read.
    pub(crate) fn for_verifiers(&self, secret: &Secret, gid: &Gid) -> Option<(RawCbor, Secret)> {
        let (salt, ms) = secret.expose().split_at_checked(SALT_LEN)?;
        let mut map = self.algorithms(None);
        map.insert(1, (Label::Int(osc::CONTEXT_ID), RawCbor::bytes(gid.as_bytes())));
        let hkdf = if self.hkdf == cose_alg::HMAC_512_512 { Hkdf::Sha512 } else { Hkdf::Sha256 };
        let mut key = Zeroizing::new(vec![0; key_len(self.gp_enc_alg)?]);
        hkdf.derive(salt, ms, &sign_enc_info(gid, self.gp_enc_alg, key.len()), &mut key)?;
        Some((RawCbor::map(&map)?, Secret::from(key.as_slice())))
    }
}

/// The `info` of the Signature Encryption Key: that of RFC 8613 section 3.2.1, with an empty `id`.
fn sign_enc_info(gid: &Gid, gp_enc_alg: i64, length: usize) -> Vec<u8> {
    let length = RawCbor::uint(u64::try_from(length).unwrap_or(u64::MAX));
    let (id, kind) = (RawCbor::bytes(&[]), RawCbor::text("SEKey"));
    let info = [id, RawCbor::bytes(gid.as_bytes()), RawCbor::int(gp_enc_alg), kind, length];
    RawCbor::array(&info).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac and cbor2: extract with the salt, expand with this `info`.
    #[test]
    fn the_signature_encryption_key_is_derived_as_a_sender_key_of_nobody() {
        let info = sign_enc_info(&Gid::from(&[0x37, 0xfc]), 10, 16);
        assert_eq!(hex::encode(&info), "85404237fc0a6553454b657910");
        let mut key = [0; 16];
        Hkdf::Sha256.derive(&[0; 8], &[1; 16], &info, &mut key).unwrap();
        assert_eq!(hex::encode(key), "6e4994a27af0b13f86de1f705e7134c2");
    }
}
