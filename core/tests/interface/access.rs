//! Who is told what: paths, methods, and those who are not entitled.

use crate::{LATER, TALKER, admitted, client, desk, error_of, member};
use ace_groupcomm::command::Command;
use ace_groupcomm::testkit::build::group_request;
use ace_groupcomm::{Caller, Method, Request, Status};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{GroupNamesRequest, GroupNamesResponse, GroupcommError, RawCbor};

const READER: u64 = 4;

// Covers: KG-4.3.2-01, KG-4.6.1-01, KG-4.7.1-01, KG-4.1.2-02, KG-4.1.2-03, KG-4.1.2-04, KG-4.6.1-02, KG-4.6.1-03
// Covers: KG-4.7.1-02, KG-4.7.1-03, KG-4.3.2-02, KG-4.3.2-03, KG-4.8-01, KG-4.8-02, KG-4.8-03, AF-5.10.2-02
// Covers: AF-5.10.2-03, AF-5.10.2-04, GO-8-01, TH-2-09/missing-node
// Covers: TH-2-09/odd-names
#[test]
fn who_is_not_entitled_learns_nothing() {
    let mut desk = desk();
    let (.., created) = member(&mut desk, 1, "g1", TALKER);
    let node = created.location_path[3].clone();
    let outsider = client(2);
    let (outsider, _) = admitted(&mut desk, &outsider, &[("g1", TALKER)]);
    let (reader, _) = admitted(&mut desk, &client(3), &[("g1", READER)]);
    for resource in [&[][..], &["kdc-cred"], &["policies"], &["num"], &["active"], &["nodes", &node], &["nodes", "x"]] {
        let request = group_request(Method::Get, "g1", resource);
        let anonymous = desk.ask(&Caller::anonymous(), request.clone());
        assert_eq!((anonymous.status, anonymous.content_format), (Status::Unauthorized, Some(ACE_CBOR)));
        assert!(!anonymous.unprotected);
        for caller in [&outsider, &reader] {
            let response = desk.ask(caller, request.clone());
            assert_eq!((response.status, error_of(&response)), (Status::Forbidden, Some(GroupcommError::NotAMember)));
        }
    }
    let creds = group_request(Method::Get, "g1", &["creds"]);
    let response = desk.ask(&outsider, creds.clone());
    assert_eq!((response.status, response.payload.len()), (Status::Forbidden, 0));
    assert_eq!(desk.ask(&reader, creds).status, Status::Content);
    // Another group, and one that is not there, look the same.
    let there = desk.ask(&outsider, group_request(Method::Get, "g2", &[]));
    let missing = desk.ask(&outsider, group_request(Method::Get, "nowhere", &[]));
    assert_eq!((there.status, &there), (Status::Forbidden, &missing));
    // So do another member's node and one that is not there.
    let (second, ..) = member(&mut desk, 4, "g1", TALKER);
    let other = desk.ask(&second, group_request(Method::Get, "g1", &["nodes", &node]));
    let none = desk.ask(&second, group_request(Method::Get, "g1", &["nodes", "0000000000000000"]));
    assert_eq!((other.status, &other), (Status::Forbidden, &none));
    // Names are compared byte for byte.
    for name in ["G1", "g1/", "g1\0", "%67%31", ".."] {
        assert_eq!(desk.ask(&second, group_request(Method::Get, name, &[])).status, Status::Forbidden, "{name:?}");
    }
}

#[test]
fn methods_and_paths_that_are_not_there() {
    let mut desk = desk();
    let (caller, ..) = member(&mut desk, 1, "g1", TALKER);
    for (method, resource) in [
        (Method::Put, &[][..]),
        (Method::Post, &["num"]),
        (Method::Delete, &["policies"]),
        (Method::Fetch, &["kdc-cred"]),
        (Method::Patch, &["creds"]),
        (Method::IPatch, &["nodes", "x"]),
        (Method::Post, &["active"]),
        (Method::Get, &["nodes", "x", "cred"]),
    ] {
        let response = desk.ask(&caller, group_request(method, "g1", resource));
        assert_eq!(response.status, Status::MethodNotAllowed, "{method:?} {resource:?}");
    }
    // Who can be no member is not told what there is.
    let (reader, _) = admitted(&mut desk, &client(2), &[("g1", READER)]);
    for (method, resource) in [
        (Method::Put, &[][..]),
        (Method::Delete, &[]),
        (Method::Post, &["nodes", "x"]),
        (Method::Post, &["nodes", "x", "cred"]),
        (Method::Get, &["nodes"]),
    ] {
        let response = desk.ask(&reader, group_request(method, "g1", resource));
        assert_eq!(response.status, Status::Forbidden, "{method:?} {resource:?}");
    }
    for path in [
        &["x"][..],
        &[],
        &["ace-group", "g1", "unknown"],
        &["ace-group", "g1", "nodes"],
        &["ace-group", "g1", "nodes", "x", "credential"],
        &["authz-info", "x"],
    ] {
        let request = Request::new(Method::Get, path.iter().copied());
        assert_eq!(desk.ask(&caller, request).status, Status::NotFound, "{path:?}");
    }
    let get = Request::new(Method::Get, ["authz-info"]);
    assert_eq!(desk.ask(&Caller::anonymous(), get).status, Status::MethodNotAllowed);
    let get = Request::new(Method::Get, ["ace-group"]);
    assert_eq!(desk.ask(&caller, get).status, Status::MethodNotAllowed);
}

// Covers: TH-2-09/own-groups
// Covers: KG-4.2.1-03
#[test]
fn groups_are_found_by_their_gid() {
    let mut desk = desk();
    let (caller, ..) = member(&mut desk, 1, "g1", TALKER);
    let gids: Vec<Vec<u8>> = desk
        .store
        .dump()
        .into_iter()
        .filter_map(|(key, _)| key.as_bytes().strip_prefix(b"gid/").map(<[u8]>::to_vec))
        .collect();
    assert_eq!(gids.len(), 2);
    let asked = gids.iter().chain([&vec![9]]).map(|gid| RawCbor::bytes(gid)).collect();
    let fetch =
        |gids| Request::new(Method::Fetch, ["ace-group"]).with_payload(261, GroupNamesRequest { gids }.encode());
    let response = desk.ask(&caller, fetch(asked));
    assert_eq!((response.status, response.content_format), (Status::Content, Some(261)));
    let groups = GroupNamesResponse::decode(&response.payload).unwrap().groups;
    assert!(gids.contains(&groups[0].gid.to_byte_string().unwrap().to_vec()));
    assert_eq!(
        groups.iter().map(|g| (g.gname.as_str(), g.guri.as_str())).collect::<Vec<_>>(),
        [("g1", "/ace-group/g1")]
    );
    let none = desk.ask(&caller, fetch(vec![RawCbor::bytes(&[9])]));
    assert_eq!((none.status, none.payload.as_ref()), (Status::Content, &[0x40][..]));
    assert_eq!(desk.ask(&caller, fetch(vec![RawCbor::uint(1)])).status, Status::BadRequest);
    assert_eq!(desk.ask(&caller, Request::new(Method::Fetch, ["ace-group"])).status, Status::BadRequest);
    assert_eq!(desk.ask(&Caller::anonymous(), fetch(vec![RawCbor::uint(1)])).status, Status::Unauthorized);
    // The Gid of today alone names the group, and none does when it is gone.
    let former = groups[0].gid.clone();
    desk.command(Command::Rekey("g1".into())).unwrap();
    assert_eq!(desk.ask(&caller, fetch(vec![former])).payload.as_ref(), [0x40]);
    let current = || {
        desk.store.dump().into_iter().filter_map(|(key, _)| key.as_bytes().strip_prefix(b"gid/").map(<[u8]>::to_vec))
    };
    let all: Vec<RawCbor> = current().map(|gid| RawCbor::bytes(&gid)).collect();
    let found = desk.ask(&caller, fetch(all.clone()));
    assert_eq!(GroupNamesResponse::decode(&found.payload).unwrap().groups.len(), 1);
    desk.command(Command::Delete { group: "g1".into(), with_members: true }).unwrap();
    assert_eq!(desk.ask(&caller, fetch(all)).payload.as_ref(), [0x40]);
    desk.pass(std::time::Duration::from_secs(LATER));
    assert_eq!(desk.ask(&caller, fetch(vec![RawCbor::bytes(&[9])])).status, Status::Unauthorized);
}
