//! Who somebody is in a group: a credential, and the private key of it.

use super::{PublicKey, SigningKey};
use ace_groupcomm_messages::{Claims, Label};
use std::sync::Arc;

/// A credential, and the private key of the public key in it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The credential, in the group's format.
    pub cred: Vec<u8>,
    /// Signs with the private key, which a device may hold.
    pub key: Arc<dyn SigningKey>,
}

impl Identity {
    /// Returns an identity with a CWT Claims Set as credential (`kccs`). The key in it names its algorithm, which some peers ask
    /// for.
    #[must_use]
    pub fn kccs(subject: &str, key: Arc<dyn SigningKey>) -> Self {
        let algorithm = key.algorithm();
        let mut public = PublicKey::Signature(algorithm, key.public().to_vec().into()).to_cose();
        public.alg = Some(Label::Int(algorithm.number()));
        Self { cred: Claims::kccs(subject, public).encode(), key }
    }
}

impl PublicKey {
    /// The key of a credential that is a CWT Claims Set (`kccs`), for this signature algorithm; `None` where it is no such
    /// credential, or its key another one ([`Self::for_signatures`]).
    #[must_use]
    pub fn of_kccs(algorithm: super::SignatureAlgorithm, cred: &[u8]) -> Option<Self> {
        Self::for_signatures(algorithm, Claims::decode(cred).ok()?.cose_key()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::crypto::SignatureAlgorithm;

    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

    /// A key that is there for its public part.
    struct Public(Vec<u8>);

    impl SigningKey for Public {
        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::Ed25519
        }

        fn public(&self) -> &[u8] {
            &self.0
        }

        fn sign(&self, _message: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    fn public_key(cred: &[u8]) -> Option<PublicKey> {
        PublicKey::of_kccs(SignatureAlgorithm::Ed25519, cred)
    }

    fn cred(key: &str) -> Vec<u8> {
        hex::decode(format!("a202616108a101{key}")).unwrap()
    }

    #[test]
    fn a_credential_names_key_and_algorithm() {
        let made = Identity::kccs("a", Arc::new(Public(hex::decode(PUBLIC).unwrap()))).cred;
        assert_eq!(hex::encode(&made), format!("a202616108a101a401010327200621 5820{PUBLIC}").replace(' ', ""));
        assert_eq!(public_key(&made).unwrap().as_bytes(), hex::decode(PUBLIC).unwrap());
        assert!(
            public_key(&cred(&format!("a3010120062158 20{PUBLIC}").replace(' ', ""))).is_some(),
            "alg may be left out"
        );
    }

    #[test]
    fn other_keys_do_not_fit() {
        for (what, key) in [
            ("other algorithm", format!("a40101032620062158 20{PUBLIC}")),
            ("X25519", format!("a30101200421 5820{PUBLIC}")),
            ("EC2", format!("a40102 2001 215820{PUBLIC} 225820{PUBLIC}")),
            ("symmetric", format!("a20104205820{PUBLIC}")),
            ("short", format!("a30101200621 581f{}", &PUBLIC[2..])),
            ("low order", format!("a30101200621 5820{}", "00".repeat(32))),
            ("not canonical", format!("a30101200621 5820{}", "ff".repeat(32))),
            ("no x", "a201012006".into()),
            ("with the private key", format!("a4010120062158 20{PUBLIC}235820{PUBLIC}")),
        ] {
            assert_eq!(public_key(&cred(&key.replace(' ', ""))), None, "{what}");
        }
        for bytes in [&[][..], &[0xa0], &[0x80], &[0xa1, 0x08, 0xa1, 0x03, 0x41, 0x01], b"-----BEGIN CERTIFICATE-----"]
        {
            assert_eq!(public_key(bytes), None);
        }
    }
}
