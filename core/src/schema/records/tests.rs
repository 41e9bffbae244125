//! Records come back from their bytes, in each format that was ever written.

use super::*;
use crate::id::{Gid, NodeName, SenderId};
use crate::traits::crypto::{PublicKey, SignatureAlgorithm, Thumbprint};
use sha2::{Digest, Sha256};

#[test]
fn records_come_back_and_others_are_refused() {
    let head = Head {
        num: 3,
        gid: vec![1, 2].into(),
        epoch: 1,
        cursor: 9,
        members: 2,
        active: true,
        rekey_due: Some(RekeyDue {
            reasons: [RekeyReason::Left, RekeyReason::Expired].into(),
            since: UnixTime::new(5),
        }),
        incarnation: 1,
        serial: 7,
        deleted: None,
        held: 1,
        taken: 4,
    };
    let bytes = head.encode();
    assert_eq!(bytes.first(), Some(&4), "the format stands in front");
    assert_eq!(Head::decode(&bytes).as_ref(), Ok(&head));
    assert!(bytes.len() < 1_024);
    assert_eq!(MemberRecord::decode(&bytes), Err(Corrupt));
    assert_eq!(Head::decode(&bytes[..bytes.len() - 1]), Err(Corrupt));
    assert_eq!(Head::decode(&[]), Err(Corrupt));
    let mut later = bytes;
    later[0] = 5;
    assert_eq!(Head::decode(&later), Err(Corrupt));
    later[0] = 1;
    assert_eq!(Head::decode(&later), Err(Corrupt), "a Gid of the first format has 12 bytes");
    let old = Head { gid: vec![0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0].into(), ..head };
    let mut bytes = old.encode();
    bytes[0] = 1;
    assert_eq!(Head::decode(&bytes), Ok(Head { incarnation: 9, serial: 4, held: 2, taken: 9, ..old }));
    let id = GroupId::new([7; 16]);
    assert_eq!(
        NamedGroup::decode(&BelongsTo(id).encode()),
        Ok(NamedGroup { id, state: NameState::Live(UnixTime::new(0)) })
    );
    for (state, live) in [(NameState::Live(UnixTime::new(5)), Some(id)), (NameState::Deleted(UnixTime::new(5)), None)] {
        let name = NamedGroup { id, state };
        assert_eq!((NamedGroup::decode(&name.encode()), name.live()), (Ok(name), live));
        assert_eq!(BelongsTo::<GroupId>::decode(&name.encode()), Err(Corrupt), "an older program does not take it");
    }
    let secret = GroupSecret {
        material: Secret::new(vec![7; 16]),
        created: UnixTime::new(1),
        expires: UnixTime::new(2),
        joined: Vec::new(),
    };
    assert_eq!(GroupSecret::decode(&secret.encode()).as_ref(), Ok(&secret));
    assert!(!format!("{secret:?}").contains("7, 7"));
    assert_eq!(Mark::decode(&Mark.encode()), Ok(Mark));
}

#[test]
fn a_record_of_the_first_format_is_read_and_one_of_a_later_one_is_refused() {
    assert_eq!(Revoked::decode(&Mark.encode()), Ok(Revoked { until: None }));
    for until in [None, Some(7)] {
        let bytes = Revoked { until: until.map(UnixTime::new) }.encode();
        assert_eq!(
            (bytes.first(), Revoked::decode(&bytes)),
            (Some(&2), Ok(Revoked { until: until.map(UnixTime::new) }))
        );
        assert_eq!(Mark::decode(&bytes), Err(Corrupt), "an older program does not take it for its own");
    }
    let mut meta = Meta { starts: 3, ..Meta::default() }.encode();
    assert_eq!(meta.first(), Some(&3));
    for format in 0..5 {
        meta[0] = format;
        let read = Meta::decode(&meta).map(|meta| meta.starts);
        assert_eq!(read, if (1..=3).contains(&format) { Ok(3) } else { Err(Corrupt) }, "{format}");
    }
}

/// A member as the first format had it, and as it is read today.
#[test]
fn a_member_of_the_first_format_keeps_its_credential_and_the_name_of_its_key() {
    #[derive(Serialize)]
    struct First {
        node: NodeName,
        sender_id: Option<SenderId>,
        roles: u64,
        cred: Option<ByteBuf>,
        key: Option<ByteBuf>,
        scope: ByteBuf,
        clientchallenge: ByteBuf,
        birth_gid: Gid,
        control_uri: Option<String>,
        rejoins: (u32, UnixTime),
    }
    let first = |cred: Option<&[u8]>| First {
        node: NodeName::new("n"),
        sender_id: Some(vec![1].into()),
        roles: 6,
        cred: cred.map(ByteBuf::from),
        key: cred.map(|_| ByteBuf::from([3; 32])),
        scope: ByteBuf::from([4]),
        clientchallenge: ByteBuf::from([5]),
        birth_gid: vec![6].into(),
        control_uri: Some("coap://a".into()),
        rejoins: (7, UnixTime::new(8)),
    };
    let read = |first: &First| MemberRecord::decode(&record::to_bytes(first, FIRST_FORMAT)).unwrap();
    let member = read(&first(Some(&[2])));
    let credential = member.credential.clone().unwrap();
    assert_eq!((credential.cred.as_slice(), credential.expires), (&[2][..], None));
    assert_eq!(credential.key, PublicKey::Signature(SignatureAlgorithm::Ed25519, ByteBuf::from([3; 32])));
    // The index of the first format was by the hash of the key's bytes.
    let hash: [u8; 32] = Sha256::digest([3; 32]).into();
    assert_eq!(member.claimed(), Some(&Thumbprint::new(hash)));
    assert_eq!((member.node.as_str(), member.roles), ("n", 6));
    let bytes = member.encode();
    assert_eq!((bytes.first(), MemberRecord::decode(&bytes)), (Some(&2), Ok(member.clone())));
    let unproven = MemberRecord { is_proven: false, ..member };
    assert_eq!(unproven.claimed(), None);
    let monitor = read(&first(None));
    assert_eq!((monitor.credential.clone(), monitor.is_proven, monitor.claimed()), (None, false, None));
}
