//! What members ask for, and what they are told when the group is rekeyed (sections 4.2 and 5 of the profile).

use super::*;
use ace_groupcomm::Purpose;
use ace_groupcomm::command::Command;
use ace_groupcomm_messages::{
    CredUpdate, CredsResponse, GroupNamesRequest, GroupNamesResponse, KdcCred, RawCbor, RekeyingMessage, pop, retrieval,
};
use std::time::Duration;

fn peers(response: &Response) -> Vec<Vec<u8>> {
    let creds = CredsResponse::decode(&response.payload).unwrap();
    let mut ids: Vec<_> = creds.map(|creds| creds.peers.into_iter().map(|peer| peer.id).collect()).unwrap_or_default();
    ids.sort();
    ids
}

// Covers: PS-4.2.1-02, PS-4.2.1-03, PS-4.2.1-06, PS-4-01
#[test]
fn members_read_what_the_group_has() {
    let mut desk = desk();
    for (gname, profile, _) in GROUPS {
        let one = joined(&mut desk, 1, gname, PUBLISHER);
        let two = joined(&mut desk, 2, gname, SUBSCRIBER);
        for member in [&one, &two] {
            let group = KeyDistribution::decode(&member.get(&mut desk, &[]).payload).unwrap();
            let shared = PubsubKeyingMaterial::decode(&group.key).unwrap();
            assert_eq!((shared.group_sender_id.clone(), group.exi.is_some()), (None, true));
            assert_eq!(
                (group.ace_groupcomm_profile, &shared.group_key),
                (Some(profile.number), &one.material().group_key)
            );
            let own = member.own(&mut desk);
            assert_eq!((&own.key, own.exi.is_some()), (&member.response.material.key, true));
            assert_eq!(member.rules.key(&own), Ok(own.key.clone()));
            assert_eq!(retrieval::decode_num(&member.get(&mut desk, &["num"]).payload), Ok(0));
            assert_eq!(peers(&member.get(&mut desk, &["creds"])), [one.sender_id()]);
            let kdc = KdcCred::decode(&member.get(&mut desk, &["kdc-cred"]).payload).unwrap();
            assert_eq!(member.rules.kdc_proven(&kdc, &N_C), Ok(()));
            assert_eq!(member.get(&mut desk, &["policies"]).payload.as_ref(), [0x40], "there are none");
            assert_eq!(member.get(&mut desk, &["active"]).status, Status::NotFound);
        }
        // By the Gid, which is the name of the key.
        let gids = GroupNamesRequest { gids: vec![RawCbor::bytes(&one.material().group_key.kid)] };
        let fetch = Request::new(Method::Fetch, ["ace-group"]).with_payload(ACE_GROUPCOMM_CBOR, gids.encode());
        let names = GroupNamesResponse::decode(&desk.ask(&two.caller, fetch).payload).unwrap();
        assert_eq!(names.groups[0].gname, gname);
        // By identifiers, of which some are nobody's.
        let filter = GetCreds::Filter { inclusive: true, roles: vec![], ids: vec![one.sender_id(), vec![9, 9]] };
        let fetch =
            group_request(Method::Fetch, gname, &["creds"]).with_payload(ACE_GROUPCOMM_CBOR, filter.encode_request());
        assert_eq!(peers(&desk.ask(&two.caller, fetch)), [one.sender_id()]);
        let (outsider, _) = admitted(&mut desk, 3, gname, SUBSCRIBER);
        for path in [&[][..], &["creds"], &["num"], &["kdc-cred"]] {
            let refused = desk.ask(&outsider, group_request(Method::Get, gname, path));
            assert_eq!(refused.status, Status::Forbidden, "{path:?}");
        }
    }
}

// Covers: PS-4.1.2-06, PS-4.2.2-04
#[test]
fn a_publisher_gets_another_sender_id_and_a_reader_none() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let answer = desk.ask(&one.caller, one.node(Method::Post));
    let map = RawCbor::new(&answer.payload).unwrap().to_map().unwrap();
    assert_eq!((answer.status, map.len()), (Status::Content, 1));
    assert_eq!(map[0].0, ace_groupcomm_messages::Label::Int(21), "group_SenderId of the ACE Groupcomm parameters");
    let held = one.rules.renewed(&one.response.material.key, &answer.payload).unwrap();
    let next = one.rules.own_id(&held).unwrap();
    assert!(next != one.sender_id());
    assert_eq!(one.own(&mut desk).key, held);
    let two = joined(&mut desk, 2, "weather", SUBSCRIBER);
    let refused = desk.ask(&two.caller, two.node(Method::Post));
    assert_eq!(told(&refused), (Status::BadRequest, Some(GroupcommError::InconsistentWithRoles)));
    // While the former identifier may be in use nobody else gets it.
    let three = joined(&mut desk, 3, "weather", PUBLISHER);
    assert!(three.sender_id() != one.sender_id() && three.sender_id() != next);
}

#[test]
fn a_publisher_gets_another_credential_and_a_reader_none() {
    let mut desk = desk();
    let one = joined(&mut desk, 1, "weather", PUBLISHER);
    let two = joined(&mut desk, 2, "weather", SUBSCRIBER);
    let other = rules(30, "weather", PUBLISHER).identity().unwrap().clone();
    let scope = one.rules.scope().encode();
    let proof = other.key.sign(&pop::client_input(&scope, &one.challenge, &N_C)).unwrap();
    let update = CredUpdate { client_cred: other.cred.clone(), cnonce: N_C.to_vec(), client_cred_verify: proof };
    let post = |member: &Member| {
        let path = ["nodes", &member.node, "cred"];
        group_request(Method::Post, "weather", &path).with_payload(ACE_GROUPCOMM_CBOR, update.encode())
    };
    assert_eq!(desk.ask(&one.caller, post(&one)).status, Status::Changed);
    let creds = CredsResponse::decode(&two.get(&mut desk, &["creds"]).payload).unwrap().unwrap();
    assert_eq!((creds.peers.len(), &creds.peers[0].cred, &creds.peers[0].id), (1, &other.cred, &one.sender_id()));
    let refused = desk.ask(&two.caller, post(&two));
    assert_eq!(told(&refused), (Status::BadRequest, Some(GroupcommError::InconsistentWithRoles)));
}

/// What a notification of the group says.
fn notified(desk: &mut Desk, member: &Member) -> RekeyingMessage {
    let request = Request { purpose: Purpose::Notification, ..group_request(Method::Get, member.rules.gname(), &[]) };
    RekeyingMessage::decode(&desk.ask(&member.caller, request).payload).unwrap()
}

// Covers: PS-5-01, PS-5-03, PS-5-04, PS-5-05
#[test]
fn who_leaves_costs_a_group_key_and_the_others_keep_their_sender_ids() {
    let mut desk = desk();
    for (gname, ..) in GROUPS {
        let one = joined(&mut desk, 1, gname, PUBLISHER);
        let two = joined(&mut desk, 2, gname, BOTH);
        let three = joined(&mut desk, 3, gname, SUBSCRIBER);
        assert_eq!(desk.ask(&three.caller, three.node(Method::Delete)).status, Status::Deleted);
        desk.pass(Duration::from_secs(5));
        let told = notified(&mut desk, &one);
        assert_eq!((told.material.num, &told.stale_node_ids), (1, &None), "the profile does not say who has left");
        for member in [&one, &two] {
            let held = member.rules.rekeyed(&member.response.material.key, &told.material).unwrap();
            assert_eq!(member.own(&mut desk).key, held, "what it makes of the notification is what it is given");
            let next = PubsubKeyingMaterial::decode(&held).unwrap();
            let before = member.material();
            assert!(next.group_key.k != before.group_key.k && next.group_key.kid != before.group_key.kid);
            assert!(next.group_key.base_iv != before.group_key.base_iv);
            assert_eq!((&next.group_sender_id, &next.sign), (&before.group_sender_id, &before.sign));
        }
        assert_eq!(desk.ask(&three.caller, three.node(Method::Get)).status, Status::Forbidden);
    }
}

// Covers: PS-4.1.2-23, PS-5-07
#[test]
fn under_backward_security_a_join_costs_a_group_key_and_publishers_are_told_of() {
    let mut desk = desk_with(&[("backward_security", ConfigValue::Bool(true)), ("rekey_delay", ConfigValue::Int(0))]);
    let one = joined(&mut desk, 1, "weather", SUBSCRIBER);
    let two = joined(&mut desk, 2, "weather", PUBLISHER);
    assert!(one.material().group_key.k != two.material().group_key.k);
    let told = notified(&mut desk, &one);
    assert_eq!(told.material.num, two.response.material.num);
    let new = told.joined.unwrap();
    assert_eq!((new.len(), &new[0].id, &new[0].cred), (1, &two.sender_id(), &two.rules.identity().unwrap().cred));
    // Who only reads is nobody whose credential others need.
    joined(&mut desk, 3, "weather", SUBSCRIBER);
    assert!(notified(&mut desk, &one).joined.is_none_or(|joined| joined.is_empty()));
}

// Covers: PS-5-06
#[test]
fn a_rekeying_message_has_the_group_key_alone() {
    use ace_groupcomm::Endpoint;
    use ace_groupcomm::delivery::ReturnAddress;
    let mut desk = desk();
    let (caller, challenge) = admitted(&mut desk, 1, "weather", PUBLISHER);
    let Caller::Peer(id, _) = caller else { panic!("a peer") };
    let at = ReturnAddress { base: "coap://192.0.2.1:1".into(), opaque: "1".into() };
    let caller = Caller::Peer(id, Some(Endpoint { at: Some(at), ..Endpoint::new(vec![1], true) }));
    let join = JoinRequest { control_uri: Some("/rekey".into()), ..request(1, "weather", PUBLISHER, &challenge) };
    let answer = desk.ask(&caller, join_post("weather", &join));
    let held = JoinResponse::decode(&answer.payload).unwrap().material.key.clone();
    desk.command(Command::Rekey("weather".into())).unwrap();
    (0..10).for_each(|_| desk.pass(Duration::from_millis(100)));
    let (_, delivery) = desk.deliveries.pop().unwrap();
    assert_eq!(delivery.request.content_format, Some(ACE_GROUPCOMM_CBOR));
    let message = RekeyingMessage::decode(&delivery.request.payload).unwrap();
    let labels: Vec<_> = message.material.key.to_map().unwrap().into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels, [ace_groupcomm_messages::Label::Int(0)]);
    let fields = RawCbor::new(&delivery.request.payload).unwrap().to_map().unwrap();
    assert!(message.material.exi.is_some() && message.material.ace_groupcomm_profile == Some(COAP.number));
    // kdc_cred, kdc_nonce, kdc_cred_verify, group_rekeying
    for absent in [17, 18, 19, 20] {
        assert!(fields.iter().all(|(label, _)| *label != ace_groupcomm_messages::Label::Int(absent)), "{absent}");
    }
    let rules = rules(1, "weather", PUBLISHER);
    let next = rules.rekeyed(&held, &message.material).unwrap();
    assert_eq!(rules.own_id(&next), rules.own_id(&held));
    assert!(rules.key_name(&next) != rules.key_name(&held));
    // The same again has the Gid that the member holds.
    assert!(rules.rekeyed(&next, &message.material).is_err());
}
