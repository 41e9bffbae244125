//! What is published: a publisher and a subscriber, and what nobody takes (section 6 of the profile).

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, SignatureAlgorithm};
use ace_groupcomm_messages::{Label, PubsubGroupKey, RawCbor};
use ace_oscore::Sequence;
use ace_profile_pubsub::PublisherCredential;
use ace_profile_pubsub::protect::{
    GroupKey, KeyError, Malformed, Object, PublishError, Publisher, Received, Rejected, Signer, Subscriber,
};
use proptest::prelude::*;
use std::sync::Arc;

const ED25519: SignatureAlgorithm = SignatureAlgorithm::Ed25519;

fn material(gid: u8) -> PubsubGroupKey {
    PubsubGroupKey { kid: vec![3, 0, gid], alg: Label::Int(10), base_iv: vec![0x61; 13], k: vec![gid; 16] }
}

fn key(gid: u8) -> GroupKey {
    GroupKey::new(&material(gid)).unwrap()
}

/// Another key with the Gid of the first.
fn other_key() -> GroupKey {
    let mut other = material(0);
    other.k = vec![9; 16];
    GroupKey::new(&other).unwrap()
}

fn identity(seed: u8) -> Identity {
    Identity::kccs("lamp", AwsLc.signing_key(ED25519, &Secret::new(vec![seed; 32])).unwrap())
}

/// The publisher with Sender ID 7.
fn publisher(gid: u8, sequence: Sequence) -> Publisher<Identity> {
    Publisher::new(key(gid), &[7], sequence, identity(1)).unwrap()
}

fn all(gid: u8) -> Publisher<Identity> {
    publisher(gid, Sequence::all())
}

/// Who 7 and 8 are under the Gids 0 and 1, as the KDC has told.
fn known(gid: &[u8], sender_id: &[u8]) -> Option<PublisherCredential> {
    let seed = match (gid, sender_id) {
        ([3, 0, 0], [7]) => 1,
        ([3, 0, 0 | 1], [8]) => 2,
        // After a rekeying somebody else has this Sender ID.
        ([3, 0, 1], [7]) => 3,
        _ => return None,
    };
    PublisherCredential::new(ED25519, &identity(seed).cred, Arc::new(AwsLc))
}

fn subscriber(gids: &[u8]) -> Subscriber {
    let mut subscriber = Subscriber::default();
    gids.iter().for_each(|gid| assert!(subscriber.install(key(*gid))));
    subscriber
}

// Covers: PS-6.3-02, PS-6.3-03, PS-6.3-04
#[test]
fn each_object_is_taken_once_in_any_order_within_the_window() {
    let mut publisher = all(0);
    let objects: Vec<Vec<u8>> = (0..70_u8).map(|number| publisher.publish(&[number]).unwrap()).collect();
    let mut subscriber = subscriber(&[0]);
    for number in [3_usize, 0, 1, 69, 6, 68] {
        let Received { gid, sender_id, number: told, data } = subscriber.receive(&objects[number], known).unwrap();
        assert_eq!((gid, sender_id, told), (vec![3, 0, 0], vec![7], u64::try_from(number).unwrap()));
        assert_eq!(data.as_slice(), [u8::try_from(number).unwrap()]);
        assert_eq!(subscriber.receive(&objects[number], known), Err(Rejected::Replayed));
    }
    // What has left the window: nobody can tell whether it was received.
    assert_eq!(subscriber.receive(&objects[5], known), Err(Rejected::Replayed));
    assert!(subscriber.receive(&objects[7], known).is_ok());
    let shown = format!("{:?}", subscriber.receive(&objects[10], known).unwrap());
    assert!(shown.contains("number: 10") && !shown.contains("[10]"), "what was published is not shown: {shown}");
    let mut tagged = objects[8].clone();
    tagged.insert(0, 0xd0);
    assert!(subscriber.receive(&tagged, known).is_ok(), "with the tag of a COSE_Encrypt0");
    assert_eq!(subscriber.receive(&objects[8], known), Err(Rejected::Replayed));
}

#[test]
fn installing_a_key_again_resets_no_window_and_a_new_one_begins_with_its_own() {
    let mut subscriber = subscriber(&[0]);
    let object = all(0).publish(b"one").unwrap();
    subscriber.receive(&object, known).unwrap();
    assert!(!subscriber.install(key(0)) && subscriber.has(&key(0)));
    assert_eq!(subscriber.receive(&object, known), Err(Rejected::Replayed));
    // Another key with a Gid that is in use is not taken for it.
    let other = other_key();
    assert!(!subscriber.has(&other) && !subscriber.install(other));
    // Under the next key the same Sender ID is somebody else's, with a window of its own.
    assert!(subscriber.install(key(1)));
    let next = || Publisher::new(key(1), &[7], Sequence::all(), identity(3)).unwrap().publish(b"two").unwrap();
    assert_eq!(subscriber.receive(&next(), known).unwrap().number, 0);
    let former = Publisher::new(key(1), &[7], Sequence::block(5, 9), identity(1)).unwrap().publish(b"x").unwrap();
    assert_eq!(subscriber.receive(&former, known), Err(Rejected::Signature), "who had it before has it no more");
    // A key that is dropped takes its windows with it, and reads nothing.
    subscriber.remove(&[3, 0, 0]);
    assert_eq!(subscriber.receive(&all(0).publish(b"three").unwrap(), known), Err(Rejected::UnknownKey));
}

#[test]
fn after_a_restart_nothing_is_taken_that_may_have_been() {
    let mut publisher = all(0);
    let objects: Vec<Vec<u8>> = (0..10).map(|_| publisher.publish(b"x").unwrap()).collect();
    let mut subscriber = subscriber(&[0]);
    assert!(subscriber.received_up_to(&[3, 0, 0], &[7], 4));
    assert!(!subscriber.received_up_to(&[9], &[7], 100), "no such key");
    for (number, object) in objects.iter().enumerate() {
        assert_eq!(subscriber.receive(object, known).is_ok(), number > 4, "{number}");
    }
    let mut ahead = self::subscriber(&[0]);
    ahead.receive(&objects[9], known).unwrap();
    assert!(ahead.received_up_to(&[3, 0, 0], &[7], 4));
    let taken: Vec<bool> = objects.iter().map(|object| ahead.receive(object, known).is_ok()).collect();
    assert_eq!(taken, [false, false, false, false, false, true, true, true, true, false]);
    // An older mark takes nothing back.
    assert!(subscriber.received_up_to(&[3, 0, 0], &[7], 4));
    assert!(objects.iter().all(|object| subscriber.receive(object, known) == Err(Rejected::Replayed)));
}

// Covers: PS-6.1-05
#[test]
fn no_number_is_used_twice_and_when_all_are_used_nothing_is_published() {
    let mut one = publisher(0, Sequence::block(0, 2));
    let number = |object: Vec<u8>| Object::decode(&object).unwrap().number();
    assert_eq!([0, 1].map(|_| number(one.publish(b"x").unwrap())), [0, 1]);
    assert_eq!(one.publish(b"x"), Err(PublishError::NeedSequence));
    one.extend(10, 12);
    assert_eq!((number(one.publish(b"x").unwrap()), one.sequence().range()), (10, (11, 12)));
    let mut last = publisher(0, Sequence::block(0xff_ffff_ffff, 0x100_0000_0000));
    assert_eq!(number(last.publish(b"x").unwrap()), 0xff_ffff_ffff);
    assert_eq!(last.publish(b"x"), Err(PublishError::Exhausted));
    // A signature that cannot be made costs the number.
    struct Broken;
    impl Signer for Broken {
        fn algorithm(&self) -> i64 {
            -8
        }
        fn sign(&self, _message: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }
    let mut broken = Publisher::new(key(0), &[7], Sequence::block(0, 5), Broken).unwrap();
    assert_eq!((broken.publish(b"x"), broken.sequence().range()), (Err(PublishError::Sign), (1, 5)));
}

#[test]
fn keys_and_sender_ids_that_do_not_fit_are_refused() {
    let refused = |change: &dyn Fn(&mut PubsubGroupKey)| {
        let mut changed = material(0);
        change(&mut changed);
        GroupKey::new(&changed).err()
    };
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|key| key.alg = Label::Int(5)), Some(KeyError::Algorithm));
    assert_eq!(refused(&|key| key.alg = Label::Text("x".into())), Some(KeyError::Algorithm));
    assert_eq!(refused(&|key| key.k.push(0)), Some(KeyError::Length));
    assert_eq!(refused(&|key| key.base_iv.truncate(12)), Some(KeyError::Length));
    for (length, fits) in [(0, false), (1, true), (7, true), (8, false)] {
        let made = Publisher::new(key(0), &vec![1; length], Sequence::all(), identity(1));
        assert_eq!(made.err(), (!fits).then_some(KeyError::SenderId), "{length}");
    }
    let shown = format!("{:?} {:?}", key(0x5a), all(0x5a));
    assert!(!shown.contains("90, 90, 90") && !shown.contains("97, 97"), "{shown}");
}

type Parts = [RawCbor; 3];

/// An object, taken apart and put together again.
fn changed(object: &[u8], change: impl FnOnce(&mut Parts, &mut Vec<(Label, RawCbor)>)) -> Vec<u8> {
    let mut parts: Parts = RawCbor::new(object).unwrap().to_array().unwrap().try_into().unwrap();
    let mut unprotected = parts[1].to_map().unwrap();
    let before = parts[1].clone();
    change(&mut parts, &mut unprotected);
    if parts[1] == before {
        parts[1] = RawCbor::map(&unprotected).unwrap();
    }
    RawCbor::array(&parts).as_bytes().to_vec()
}

fn set(map: &mut Vec<(Label, RawCbor)>, label: i64, value: Option<RawCbor>) {
    map.retain(|(known, _)| *known != Label::Int(label));
    map.extend(value.map(|value| (Label::Int(label), value)));
}

/// The countersignature, changed.
fn countersigned(map: &mut Vec<(Label, RawCbor)>, change: impl FnOnce(&mut Vec<RawCbor>)) {
    let (_, value) = map.iter().find(|(label, _)| *label == Label::Int(11)).unwrap();
    let mut parts = value.to_array().unwrap();
    change(&mut parts);
    set(map, 11, Some(RawCbor::array(&parts)));
}

fn kid(sender_id: &[u8]) -> RawCbor {
    RawCbor::map(&[(Label::Int(4), RawCbor::bytes(sender_id))]).unwrap()
}

fn alg(number: i64) -> RawCbor {
    RawCbor::bytes(RawCbor::map(&[(Label::Int(1), RawCbor::int(number))]).unwrap().as_bytes())
}

#[test]
fn each_fault_has_its_error_and_costs_nothing() {
    let object = all(0).publish(b"21 degrees").unwrap();
    let flip = |item: &RawCbor| {
        let mut bytes = item.to_byte_string().unwrap();
        bytes[0] ^= 1;
        RawCbor::bytes(&bytes)
    };
    type Change<'a> = &'a dyn Fn(&mut Parts, &mut Vec<(Label, RawCbor)>);
    let malformed = |why: Malformed| Rejected::Malformed(why);
    let crit = RawCbor::map(&[(Label::Int(1), RawCbor::int(10)), (Label::Int(2), RawCbor::array(&[RawCbor::int(99)]))]);
    let crit = RawCbor::bytes(crit.unwrap().as_bytes());
    let faults: [(&str, Change<'_>, Rejected); 25] = [
        ("ciphertext", &|parts, _| parts[2] = flip(&parts[2]), Rejected::Signature),
        ("signature", &|_, map| countersigned(map, |sign| sign[2] = flip(&sign[2])), Rejected::Signature),
        ("no signature", &|_, map| countersigned(map, |sign| sign[2] = RawCbor::bytes(&[])), Rejected::Signature),
        ("another's name", &|_, map| countersigned(map, |sign| sign[1] = kid(&[8])), Rejected::Signature),
        ("nobody's name", &|_, map| countersigned(map, |sign| sign[1] = kid(&[9])), Rejected::UnknownPublisher),
        ("no name's length", &|_, map| countersigned(map, |sign| sign[1] = kid(&[7; 8])), Rejected::UnknownPublisher),
        ("an empty name", &|_, map| countersigned(map, |sign| sign[1] = kid(&[])), Rejected::UnknownPublisher),
        ("another number", &|_, map| set(map, 6, Some(RawCbor::bytes(&[1]))), Rejected::Tampered),
        ("another Gid", &|_, map| set(map, 4, Some(RawCbor::bytes(&[3, 0, 9]))), Rejected::UnknownKey),
        ("another algorithm", &|parts, _| parts[0] = alg(1), Rejected::Algorithm),
        ("another signature", &|_, map| countersigned(map, |sign| sign[0] = alg(-7)), Rejected::Algorithm),
        ("no Gid", &|_, map| set(map, 4, None), malformed(Malformed::Kid)),
        ("no number", &|_, map| set(map, 6, None), malformed(Malformed::PartialIv)),
        ("an empty number", &|_, map| set(map, 6, Some(RawCbor::bytes(&[]))), malformed(Malformed::PartialIv)),
        ("zeros", &|_, map| set(map, 6, Some(RawCbor::bytes(&[0, 1]))), malformed(Malformed::PartialIv)),
        ("six bytes", &|_, map| set(map, 6, Some(RawCbor::bytes(&[1; 6]))), malformed(Malformed::PartialIv)),
        ("a whole IV", &|_, map| set(map, 5, Some(RawCbor::bytes(&[1; 13]))), malformed(Malformed::PartialIv)),
        ("unsigned", &|_, map| set(map, 11, None), malformed(Malformed::Countersignature)),
        (
            "two signatures",
            &|_, map| {
                let one = map.iter().find(|(label, _)| *label == Label::Int(11)).unwrap().1.clone();
                set(map, 11, Some(RawCbor::array(&[one.clone(), one])));
            },
            malformed(Malformed::Countersignature),
        ),
        (
            "three signatures",
            &|_, map| {
                let one = map.iter().find(|(label, _)| *label == Label::Int(11)).unwrap().1.clone();
                set(map, 11, Some(RawCbor::array(&[one.clone(), one.clone(), one])));
            },
            malformed(Malformed::Countersignature),
        ),
        (
            "an unnamed signature",
            &|_, map| countersigned(map, |sign| sign[1] = RawCbor::map(&[]).unwrap()),
            malformed(Malformed::Countersignature),
        ),
        ("what is critical", &|parts, _| parts[0] = crit.clone(), malformed(Malformed::Protected)),
        ("nothing protected", &|parts, _| parts[0] = RawCbor::bytes(&[]), malformed(Malformed::Protected)),
        ("no ciphertext", &|parts, _| parts[2] = RawCbor::int(0), malformed(Malformed::Structure)),
        ("no map", &|parts, _| parts[1] = RawCbor::array(&[]), malformed(Malformed::Structure)),
    ];
    let mut subscriber = subscriber(&[0]);
    for (what, change, expected) in faults {
        assert_eq!(subscriber.receive(&changed(&object, change), known), Err(expected), "{what}");
    }
    // What is unknown and unprotected may be there.
    let more = changed(&object, |_, map| set(map, 99, Some(RawCbor::int(1))));
    assert!(subscriber.receive(&more, known).is_ok(), "none of them has marked its number");
    // Two parameters with one name, an array of four, the tag of another structure.
    let twice = [&[0x83, 0x43, 0xa1, 1, 10, 0xa2, 4, 0x41, 1, 4, 0x41, 2][..], &[0x40]].concat();
    for bytes in [twice, vec![0x84, 0x40, 0xa0, 0x40, 0x80], [&[0xd2], &object[..]].concat(), vec![]] {
        assert_eq!(subscriber.receive(&bytes, known), Err(malformed(Malformed::Structure)));
    }
}

#[test]
fn what_a_member_encrypts_in_anothers_name_is_not_taken() {
    // It has the group key, and a key of its own.
    let forged = Publisher::new(key(0), &[7], Sequence::all(), identity(2)).unwrap().publish(b"lies").unwrap();
    let mut subscriber = subscriber(&[0]);
    assert_eq!(subscriber.receive(&forged, known), Err(Rejected::Signature));
    // A countersignature of one object on the ciphertext of another.
    let (one, two) = (all(0).publish(b"one").unwrap(), all(0).publish(b"two").unwrap());
    let moved = changed(&one, |parts, _| {
        let other: Parts = RawCbor::new(&two).unwrap().to_array().unwrap().try_into().unwrap();
        parts[2] = other[2].clone();
    });
    assert_eq!(subscriber.receive(&moved, known), Err(Rejected::Signature));
    // An object of another group, whose key somebody has given the same Gid, signed by the same device.
    let elsewhere = other_key();
    let object = Publisher::new(elsewhere, &[7], Sequence::all(), identity(1)).unwrap().publish(b"x").unwrap();
    assert_eq!(subscriber.receive(&object, known), Err(Rejected::Tampered));
}

/// Made by benches/peers/python/pubsub.py, on cbor2 and cryptography alone.
const FROM_ELSEWHERE: &str = "8343a1010aa304430300000641000b8343a10127a10441075840c90cb3fcc68628792abaf71da3a1b2463e585b4fad6e9dfbf0f369\
                              db8788c628b42b91762846e9778d3f2bd5f02b2e8dba26d48489689953088d731724d16d0552f89c0d764f892353bdd822ddccbd80\
                              585064";

// Covers: PS-6.1-01, PS-6.1-02
#[test]
fn an_object_is_that_which_another_program_makes() {
    let object = all(0).publish(b"21 degrees").unwrap();
    assert_eq!(hex::encode(&object), FROM_ELSEWHERE);
    // A credential may be lent.
    let (seven, other) = (known(&[3, 0, 0], &[7]).unwrap(), known(&[3, 0, 0], &[8]).unwrap());
    assert_eq!(subscriber(&[0]).receive(&object, |_, _| Some(&other)), Err(Rejected::Signature));
    assert!(subscriber(&[0]).receive(&object, |_, _| Some(&seven)).is_ok());
}

#[test]
fn an_object_is_as_the_specifications_have_it() {
    let object = all(0).publish(b"21 degrees").unwrap();
    let read = Object::decode(&object).unwrap();
    assert_eq!((read.gid(), read.sender_id(), read.number()), (&[3, 0, 0][..], &[7][..], 0));
    assert_eq!(read.encode(), object);
    // [h'a1010a', {4: h'030000', 6: h'00', 11: [h'a10127', {4: h'07'}, 64 bytes]}, 10 + 8 bytes]
    let mut expected = vec![0x83, 0x43, 0xa1, 1, 10, 0xa3, 4, 0x43, 3, 0, 0, 6, 0x41, 0, 11, 0x83, 0x43, 0xa1, 1, 0x27];
    expected.extend([0xa1, 4, 0x41, 7, 0x58, 64]);
    assert_eq!(object[..expected.len()], expected);
    assert_eq!(object[expected.len() + 64], 0x52, "ten bytes and a tag of eight");
    // ["CounterSignature", h'a1010a', h'a10127', h'', ciphertext]
    let structure = read.countersigned();
    assert_eq!(structure[..2], [0x85, 0x70]);
    assert_eq!(&structure[2..18], b"CounterSignature");
    assert_eq!(structure[18..27], [0x43, 0xa1, 1, 10, 0x43, 0xa1, 1, 0x27, 0x40]);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, to: u8) {
        let mut subscriber = subscriber(&[0]);
        let _ = subscriber.receive(&bytes, known);
        // One byte of an object is another.
        let mut object = all(0).publish(b"21 degrees").unwrap();
        if let Some(byte) = object.get_mut(at) {
            let same = *byte == to;
            *byte = to;
            let taken = subscriber.receive(&object, known).is_ok();
            prop_assert!(same || !taken);
        }
    }

    #[test]
    fn what_is_published_is_received(data in proptest::collection::vec(any::<u8>(), 0..500), number in 0_u64..0x100_0000_0000) {
        let mut publisher = publisher(0, Sequence::block(number, number + 1));
        let object = publisher.publish(&data).unwrap();
        prop_assert_eq!(Object::decode(&object).unwrap().encode(), object.clone());
        let received = subscriber(&[0]).receive(&object, known).unwrap();
        prop_assert_eq!((received.number, received.data.to_vec()), (number, data));
    }
}
