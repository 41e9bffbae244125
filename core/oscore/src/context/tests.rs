//! RFC 8613 appendix C.1 to C.3, client and server.

use super::*;
use alloc::format;

struct Vector {
    salt: &'static str,
    ids: (&'static str, &'static str),
    context: Option<&'static str>,
    infos: (&'static str, &'static str, &'static str),
    keys: (&'static str, &'static str, &'static str),
    nonces: (&'static str, &'static str),
}

const VECTORS: [Vector; 3] = [
    Vector {
        salt: "9e7ca92223786340",
        ids: ("", "01"),
        context: None,
        infos: ("8540f60a634b657910", "854101f60a634b657910", "8540f60a6249560d"),
        keys: ("f0910ed7295e6ad4b54fc793154302ff", "ffb14e093c94c9cac9471648b4f98710", "4622d4dd6d944168eefb54987c"),
        nonces: ("4622d4dd6d944168eefb54987c", "4722d4dd6d944169eefb54987c"),
    },
    Vector {
        salt: "",
        ids: ("00", "01"),
        context: None,
        infos: ("854100f60a634b657910", "854101f60a634b657910", "8540f60a6249560d"),
        keys: ("321b26943253c7ffb6003b0b64d74041", "e57b5635815177cd679ab4bcec9d7dda", "be35ae297d2dace910c52e99f9"),
        nonces: ("bf35ae297d2dace910c52e99f9", "bf35ae297d2dace810c52e99f9"),
    },
    Vector {
        salt: "9e7ca92223786340",
        ids: ("", "01"),
        context: Some("37cbf3210017a2d3"),
        infos: (
            "85404837cbf3210017a2d30a634b657910",
            "8541014837cbf3210017a2d30a634b657910",
            "85404837cbf3210017a2d30a6249560d",
        ),
        keys: ("af2a1300a5e95788b356336eeecd2b92", "e39a0c7c77b43f03b4b39ab9a268699f", "2ca58fb85ff1b81c0b7181b85e"),
        nonces: ("2ca58fb85ff1b81c0b7181b85e", "2da58fb85ff1b81d0b7181b85e"),
    },
];

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

// Covers: OS-3.2-01, OS-3.2-02, OS-3.2.1-02
#[test]
fn derivation_is_that_of_appendix_c1_to_c3() {
    for vector in &VECTORS {
        let client = Parameters {
            master_secret: bytes("0102030405060708090a0b0c0d0e0f10"),
            master_salt: bytes(vector.salt),
            sender_id: bytes(vector.ids.0),
            recipient_id: bytes(vector.ids.1),
            id_context: vector.context.map(bytes),
            aead: Aead::default(),
            hkdf: Hkdf::default(),
        };
        let context = client.id_context.as_deref();
        assert_eq!(hex::encode(info(&client.sender_id, context, Aead::default(), "Key", 16)), vector.infos.0);
        assert_eq!(hex::encode(info(&client.recipient_id, context, Aead::default(), "Key", 16)), vector.infos.1);
        assert_eq!(hex::encode(info(&[], context, Aead::default(), "IV", 13)), vector.infos.2);

        let derived = Context::fresh(&client, Sequence::all()).unwrap();
        assert_eq!(hex::encode(&*derived.sender_key), vector.keys.0);
        assert_eq!(hex::encode(&*derived.recipient_key), vector.keys.1);
        assert_eq!(hex::encode(&derived.common_iv), vector.keys.2);
        let zero = PartialIv::new(0).unwrap();
        assert_eq!(hex::encode(derived.nonce(&derived.sender_id, zero)), vector.nonces.0);
        assert_eq!(hex::encode(derived.nonce(&derived.recipient_id, zero)), vector.nonces.1);

        let mut server = client.clone();
        core::mem::swap(&mut server.sender_id, &mut server.recipient_id);
        let derived = Context::restored(&server, Sequence::all()).unwrap();
        assert_eq!(hex::encode(&*derived.sender_key), vector.keys.1);
        assert_eq!(hex::encode(&*derived.recipient_key), vector.keys.0);
        assert_eq!(hex::encode(&derived.common_iv), vector.keys.2);
        assert_eq!(hex::encode(derived.nonce(&derived.sender_id, zero)), vector.nonces.1);
    }
}

fn parameters(sender: &[u8], recipient: &[u8], aead: Aead) -> Parameters {
    Parameters {
        master_secret: alloc::vec![1; 16],
        master_salt: Vec::new(),
        sender_id: sender.to_vec(),
        recipient_id: recipient.to_vec(),
        id_context: None,
        aead,
        hkdf: Hkdf::default(),
    }
}

#[test]
fn ids_that_would_underflow_the_nonce_or_share_a_key_are_refused() {
    let fresh = |p: &Parameters| Context::fresh(p, Sequence::all()).map(|_| ());
    for aead in [Aead::AesCcm16_64_128, Aead::A128Gcm] {
        let longest = alloc::vec![1; aead.max_id_len()];
        let too_long = alloc::vec![1; aead.max_id_len() + 1];
        assert_eq!(fresh(&parameters(&longest, &[], aead)), Ok(()));
        assert_eq!(fresh(&parameters(&[], &longest, aead)), Ok(()));
        assert_eq!(fresh(&parameters(&too_long, &[], aead)), Err(Error::Parameter));
        assert_eq!(fresh(&parameters(&[], &too_long, aead)), Err(Error::Parameter));
    }
    assert_eq!(fresh(&parameters(&[1], &[1], Aead::default())), Err(Error::Parameter));
}

#[test]
fn an_empty_id_context_gives_other_keys_than_none() {
    let mut with = parameters(&[1], &[2], Aead::default());
    let without = Context::fresh(&with, Sequence::all()).unwrap();
    with.id_context = Some(Vec::new());
    let with = Context::fresh(&with, Sequence::all()).unwrap();
    assert_ne!(with.sender_key, without.sender_key);
}

#[test]
fn debug_shows_no_secret() {
    let secret = parameters(&[1], &[2], Aead::default());
    let shown = format!("{secret:?} {:?}", Context::fresh(&secret, Sequence::all()).unwrap());
    assert!(!shown.contains("1, 1, 1") && !shown.contains("key"), "{shown}");
    assert_eq!(shown.matches("sender_id: [1], recipient_id: [2]").count(), 2, "it shows whose they are: {shown}");
}
