//! Versions of the keying material: in order, out of order, after a miss, and at their end.

use super::*;
use ace_groupcomm_messages::labels::osc;

// Covers: GO-11.2-01
// Covers: GO-12-06
#[test]
fn the_next_version_keeps_what_its_message_leaves_out() {
    for roles in [REQUESTER, MONITOR] {
        let mut house = House::new(roles);
        assert_eq!(house.notified(told(&message(1, Some(&[2, 7]))), &[]), Ok(()));
        let before = material(0, (roles != MONITOR).then_some(9));
        let mut wanted = material(1, (roles != MONITOR).then_some(9));
        wanted.hkdf = before.hkdf.clone();
        assert!(house.material() == wanted, "algorithms and Sender ID stay");
        assert_eq!((house.num(), house.peers()), (1, vec![1, 3]));
        assert_eq!(house.events, [gone(&[2]), MemberEvent::Rekeyed { num: 1 }]);
        assert_eq!(house.steps, [Step::Saved(Some(1))], "and it was safe before it was told");
    }
    // Where there is no new salt, the former one stays.
    let mut house = House::new(REQUESTER);
    let mut bare = message(1, Some(&[]));
    let mut key = GroupOscoreInputMaterial::decode(&bare.material.key).unwrap();
    key.salt = None;
    bare.material.key = key.encode();
    house.notified(told(&bare), &[]).unwrap();
    assert_eq!(house.material().salt, Some(vec![0; 8]));
    assert_eq!(house.events, [MemberEvent::Rekeyed { num: 1 }]);
}

#[test]
fn other_algorithms_are_taken_with_the_version_that_they_begin_with() {
    // {hkdf: SHA-256, cred_fmt: kccs, gp_enc_alg: A128GCM, sign_alg: EdDSA}
    let mut other = material(1, None);
    other.gp_enc_alg = Some(Label::Int(1));
    let algorithms = other.encode().to_map().unwrap().into_iter();
    let secret = [Label::Int(osc::MS), Label::Int(osc::SALT), Label::Int(osc::CONTEXT_ID)];
    let algorithms: Vec<_> = algorithms.filter(|(label, _)| !secret.contains(label)).collect();
    let mut configured = message(1, None);
    configured.material.key = RawCbor::map(&algorithms).unwrap();
    let mut mine = other.clone();
    mine.group_sender_id = Some(vec![9]);
    let whole = |key: &GroupOscoreInputMaterial| RekeyingMessage {
        material: distribution(1, key.encode()),
        ..message(1, Some(&[2]))
    };

    // Told at the control URI: it gets all of the version, and never makes one of the former algorithms and the new secret.
    let mut house = House::new(REQUESTER);
    let answers = [told(&whole(&mine))];
    house.notified(told(&configured), &answers).unwrap();
    assert!(house.material() == mine && house.num() == 1);
    assert_eq!(house.peers(), [1, 3]);
    house.notified(told(&message(1, Some(&[2]))), &[]).unwrap();
    assert!(house.material() == mine, "the rekeying message that follows has nothing new");
    // Told again, it looks again: what it has may be of the former parameters.
    house.notified(told(&configured), &[told(&whole(&mine))]).unwrap();
    assert!(house.material() == mine);
    let mut house = House::new(REQUESTER);
    assert!(house.notified(told(&configured), &[refusal(GroupcommError::GroupInactive)]).is_err());
    assert!(house.notified(told(&message(1, Some(&[2]))), &[]).is_err());
    assert_eq!(house.num(), 0);

    // Observed: the group's own part has them, and the Sender ID stays.
    let mut house = House::new(REQUESTER);
    house.notified(told(&whole(&other)), &[]).unwrap();
    assert!(house.material() == mine && house.num() == 1);
    // Who only monitors has none.
    let mut house = House::new(MONITOR);
    house.notified(told(&whole(&other)), &[]).unwrap();
    assert!(house.material() == other);
}

#[test]
fn a_version_with_the_gid_of_the_former_one_or_of_another_profile_is_not_installed() {
    let mut house = House::new(REQUESTER);
    let mut same = message(1, Some(&[]));
    let mut key = GroupOscoreInputMaterial::decode(&same.material.key).unwrap();
    key.context_id = vec![0];
    same.material.key = key.encode();
    let mut other = message(1, Some(&[]));
    other.material.gkty = Label::Int(2);
    for wrong in [same, other] {
        assert!(matches!(house.notified(told(&wrong), &[]), Err(MemberError::Unsuitable(_))));
        assert!(house.num() == 0 && house.material() == material(0, Some(9)) && house.steps.is_empty());
    }
}

// Covers: TH-7-06/stale-first, TH-7-06/empty-answer, GO-11.2-02, GO-11.3-01, GO-11.3-02, GO-11.3-03, GO-11.3-04, GO-11.3-05
// Covers: GO-11.3.1-01
#[test]
fn who_missed_a_version_asks_first_which_sender_ids_went_stale() {
    for (answer, kept, event) in [
        (stale(&[1, 2]), vec![3], gone(&[1, 2])),
        (Response::new(Status::Content), vec![], MemberEvent::OthersForgotten),
        (refusal(GroupcommError::GroupInactive), vec![], MemberEvent::OthersForgotten),
    ] {
        let mut house = House::new(REQUESTER);
        house.notified(told(&message(2, Some(&[3]))), &[answer]).unwrap();
        // The former key goes, numbers for the request are reserved.
        let [Step::Dropped(0), Step::Dropped(0), Step::Asked(request), Step::Saved(Some(2))] = &house.steps[..] else {
            panic!("{:?}", house.steps)
        };
        assert_eq!((request.method, request.path.join("/")), (Method::Fetch, "ace-group/g/stale-sids".into()));
        assert_eq!(retrieval::decode_num(&request.payload), Ok(0), "since the version that it has");
        assert_eq!(house.peers(), kept);
        assert_eq!(house.events, [MemberEvent::Missed { had: 0, num: 2 }, event, MemberEvent::Rekeyed { num: 2 }]);
    }
    // The next version, without saying what went stale: a plain answer of GET.
    let mut house = House::new(REQUESTER);
    house.run(Operation::Observe, &[told(&message(1, None)), stale(&[])]).unwrap();
    assert_eq!((house.num(), house.peers()), (1, vec![1, 2, 3]));
    assert_eq!(house.events, [MemberEvent::Missed { had: 0, num: 1 }, MemberEvent::Rekeyed { num: 1 }]);
}

#[test]
fn who_observes_registers_and_who_asks_does_not() {
    let whole =
        || told(&RekeyingMessage { material: distribution(0, material(0, Some(9)).encode()), ..message(0, None) });
    let num = Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, retrieval::encode_num(0));
    for (operation, answer, registers) in [(Operation::Observe, whole(), true), (Operation::Version, num, false)] {
        let mut house = House::new(REQUESTER);
        house.run(operation, &[answer]).unwrap();
        let registered = house.steps.iter().find_map(|step| match step {
            Step::Asked(request) => Some(request.observe.is_some()),
            _ => None,
        });
        assert_eq!((registered, house.events.len()), (Some(registers), 0), "{operation:?}");
    }
}

#[test]
fn the_version_that_it_has_is_taken_again_where_its_own_part_or_its_end_is_another() {
    let whole = |sender_id, exi| {
        let mut material = distribution(0, material(0, Some(sender_id)).encode());
        material.exi = Some(exi);
        told(&RekeyingMessage { material, ..message(0, None) })
    };
    let mut house = House::new(REQUESTER);
    house.notified(whole(9, 500), &[]).unwrap();
    assert_eq!(
        (house.events.len(), house.member.group().unwrap().expires),
        (0, Some(NOW.plus(Duration::from_secs(500))))
    );
    house.notified(whole(7, 500), &[]).unwrap();
    assert_eq!(house.events, [MemberEvent::Renewed]);
    let group = house.member.group().unwrap();
    assert!(house.material() == material(0, Some(7)) && group.spent.len() == 1 && house.peers() == [1, 2, 3]);
    // One that may have been used without a record of it stays so, until there is another Sender ID.
    for (sender_id, spent, doubtful) in [(9, 0, true), (7, 1, false)] {
        let mut house = House::new(REQUESTER);
        let mut state = house.member.state().clone();
        state.groups.get_mut("g").unwrap().doubtful = true;
        house.member = Member::new(house.setup.clone(), state);
        house.notified(whole(sender_id, 500), &[]).unwrap();
        let group = house.member.group().unwrap();
        assert_eq!((group.spent.len(), group.doubtful), (spent, doubtful), "{sender_id}");
    }
}

// Covers: TH-7-06/any-order, TH-7-06/num-first, GO-11.2-03
#[test]
fn versions_that_are_told_in_any_order_lost_or_doubled_never_go_back() {
    let orders =
        [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1], [1, 1, 2], [2, 2, 3], [3, 3, 1], [1, 3, 3]];
    for order in orders {
        let mut house = House::new(REQUESTER);
        let mut newest = 0;
        for num in order {
            let answers: &[Response] = if num > newest + 1 { &[stale(&[1])] } else { &[] };
            house.notified(told(&message(num, Some(&[2]))), answers).unwrap();
            newest = newest.max(num);
            let version = u8::try_from(newest).unwrap();
            assert!(house.num() == newest && house.material().ms == [version; 16], "{order:?}");
        }
    }
}

#[test]
fn who_could_not_ask_what_went_stale_has_no_key_and_gets_the_newest_later() {
    let mut house = House::new(REQUESTER);
    let mut effect = house.member.notified(NOW, told(&message(2, Some(&[3]))), &mut house.rng);
    while let Effect::Save(_) = effect {
        effect = house.member.saved(NOW);
    }
    let silent = ace_groupcomm::member::ExchangeError::Silent("nothing".into());
    let Effect::Done(Err(MemberError::Exchange(_))) = house.member.exchanged(NOW, Err(silent)) else {
        panic!("{house:?}")
    };
    assert!(house.member.group().unwrap().key.0.is_empty());
    let whole = RekeyingMessage { material: distribution(2, material(2, Some(9)).encode()), ..message(2, None) };
    house.run(Operation::Observe, &[told(&whole), stale(&[2])]).unwrap();
    assert!(house.material() == material(2, Some(9)) && house.peers() == [1, 3]);
}

#[test]
fn who_joined_is_known_with_the_version() {
    let mut house = House::new(REQUESTER);
    let cred = |id: u8| PeerCred { cred: vec![id; 5], roles: Some(RawCbor::uint(REQUESTER.0)), id: vec![id] };
    // 1 has another credential, 9 is its own Sender ID.
    let message = RekeyingMessage { joined: Some([1, 4, 9].map(cred).into()), ..message(1, Some(&[2])) };
    house.notified(told(&message), &[]).unwrap();
    assert_eq!(house.peers(), [3, 1, 4]);
    assert_eq!(house.member.group().unwrap().peers[1].cred, Bytes(vec![1; 5]));
}

// Covers: KG-4.3.1-39
// Covers: KG-4.8.1.1-01
#[test]
fn keys_that_have_ended_are_dropped_also_where_the_kdc_cannot_be_reached() {
    let mut house = House::new(REQUESTER);
    let end = UnixTime::new(2_000);
    let mut effect = house.member.begin(end, Operation::Observe, &mut house.rng);
    while let Effect::Save(_) = effect {
        effect = house.member.saved(end);
    }
    let silent = ace_groupcomm::member::ExchangeError::Silent("nothing".into());
    assert!(matches!(house.member.exchanged(end, Err(silent)), Effect::Done(Err(MemberError::Exchange(_)))));
    assert!(house.member.group().unwrap().key.0.is_empty());
    assert_eq!(house.member.take_events(), [MemberEvent::KeysEnded { num: 0 }]);
    // A second before it has them, and it gets the next as ever.
    let mut house = House::new(REQUESTER);
    let _ = house.member.begin(UnixTime::new(1_999), Operation::Observe, &mut house.rng);
    assert!(!house.member.group().unwrap().key.0.is_empty());
    let mut house = House::new(REQUESTER);
    let mut state = house.member.state().clone();
    state.groups.get_mut("g").unwrap().expires = Some(NOW);
    house.member = Member::new(house.setup.clone(), state);
    let whole = RekeyingMessage { material: distribution(1, material(1, Some(9)).encode()), ..message(1, Some(&[2])) };
    house.run(Operation::Observe, &[told(&whole)]).unwrap();
    assert_eq!((house.num(), house.peers()), (1, vec![1, 3]));
    assert_eq!(house.events[0], MemberEvent::KeysEnded { num: 0 });
}

#[test]
fn who_asks_for_the_version_gets_the_keys_where_they_are_newer() {
    let num = |num| Response::new(Status::Content).with_payload(ACE_GROUPCOMM_CBOR, retrieval::encode_num(num));
    let mut house = House::new(REQUESTER);
    assert_eq!(house.run(Operation::Version, &[num(0)]), Ok(()));
    assert_eq!(house.events, []);
    // Where the newer ones do not come, the key that it had is not used any more all the same.
    let missing = Response::new(Status::ServiceUnavailable);
    assert!(house.run(Operation::Version, &[num(3), missing]).is_err());
    assert!(house.member.group().unwrap().key.0.is_empty());
    let whole = RekeyingMessage { material: distribution(3, material(3, Some(9)).encode()), ..message(3, Some(&[])) };
    assert_eq!(house.run(Operation::Version, &[num(3), told(&whole), stale(&[3])]), Ok(()));
    assert_eq!((house.num(), house.peers()), (3, vec![1, 2]));
    assert!(matches!(house.run(Operation::Version, &[num(2)]), Err(MemberError::Unusable(_))));
    assert_eq!((house.num(), house.events.clone()), (3, vec![MemberEvent::Older { num: 2 }]));
}
