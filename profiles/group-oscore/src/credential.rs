//! Credentials as CWT Claims Sets (`kccs`): who, and with which Ed25519 key.

use ace_groupcomm::traits::crypto::{PublicKey, SignatureAlgorithm};
use ace_groupcomm_messages::labels::{cose_alg, cose_key};
use ace_groupcomm_messages::{Claims, Confirmation, CoseKey, Label};

/// The public key in a credential; `None` where it is no such credential, its key is for another algorithm, or of small order
/// or not in its canonical encoding.
#[must_use]
pub fn public_key(cred: &[u8]) -> Option<PublicKey> {
    let claims = Claims::decode(cred).ok()?;
    let Some(Confirmation::CoseKey(key)) = &claims.cnf else { return None };
    PublicKey::for_signatures(SignatureAlgorithm::Ed25519, key)
}

/// The credential of somebody with this key. The key names its algorithm, which some peers ask for.
#[must_use]
pub fn ccs(subject: &str, public: &[u8]) -> Vec<u8> {
    let mut key = CoseKey::default();
    key.kty = cose_key::OKP;
    key.alg = Some(Label::Int(cose_alg::EDDSA));
    key.crv = Some(cose_key::ED25519);
    key.x = Some(public.to_vec());
    let claims = Claims { sub: Some(subject.into()), cnf: Some(Confirmation::CoseKey(key)), ..Claims::default() };
    claims.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

    fn cred(key: &str) -> Vec<u8> {
        hex::decode(format!("a202616108a101{key}")).unwrap()
    }

    #[test]
    fn a_credential_names_key_and_algorithm() {
        let made = ccs("a", &hex::decode(PUBLIC).unwrap());
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
