//! A rekeying scheme of somebody else: it gives each member something when it joins, keeps records of its own, and says who is told of
//! a version.

use crate::altered::{Altered, on};
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::command::Command;
use ace_groupcomm::delivery::ReturnAddress;
use ace_groupcomm::testkit::build::{TestClient, group_request, join_post, token};
use ace_groupcomm::testkit::{Desk, TestStore};
use ace_groupcomm::traits::profile::{OnRestore, OwnChanges, RecordKind};
use ace_groupcomm::traits::rekeying::{RekeyPlan, RekeyingScheme, SchemeAdmission, SchemeMember, SchemeVersion};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::{Caller, Endpoint, Method, Status, Stop};
use ace_groupcomm_messages::{JoinResponse, KeyDistribution};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NUMBER: i64 = -70_001;
const LEAF: RecordKind = RecordKind { number: 90, on_restore: OnRestore::Drop };
const VERSION: RecordKind = RecordKind { number: 91, on_restore: OnRestore::Drop };

/// What a member got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leaf(Vec<u8>);

/// Of which version, and how many identifiers went stale with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Planned(u64, usize);

ace_groupcomm::plain_record!(Leaf, Planned);

/// Each member has a leaf. Those who observe are told; what another process has begun is told to each member.
struct Leaves;

impl RekeyingScheme for Leaves {
    fn number(&self) -> i64 {
        NUMBER
    }

    fn admit(&self, member: &SchemeMember<'_, '_>) -> Result<SchemeAdmission, Stop> {
        let id = member.member.node.as_str().as_bytes();
        let leaf = match member.records.get::<Leaf>(LEAF, id)?.filter(|_| member.former.is_some()) {
            Some(leaf) => leaf.clone(),
            None => Leaf(member.view.random_bytes::<16>("leaf").to_vec()),
        };
        let mut changes = OwnChanges::default();
        changes.put(LEAF, id, leaf.clone());
        Ok(SchemeAdmission::default().with_material(leaf.0).with_changes(changes))
    }

    fn plan(&self, version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop> {
        let mut changes = OwnChanges::default();
        changes.put(VERSION, b"", Planned(version.num, version.gone.len()));
        Ok(RekeyPlan::observers().with_changes(changes))
    }

    fn resume(&self, version: &SchemeVersion<'_, '_>) -> Result<RekeyPlan, Stop> {
        let planned = version.records.get::<Planned>(VERSION, b"")?;
        assert_eq!(planned, Some(&Planned(version.num, version.gone.len())));
        Ok(RekeyPlan::each_member())
    }
}

fn altered() -> Altered {
    Altered { scheme: Some(&Leaves), ..Altered::default() }
}

/// A member that takes requests, and what it was told when it joined.
fn joined(desk: &mut Desk, number: u16) -> (TestClient, Caller, JoinResponse, Vec<u8>) {
    let client = TestClient::new(&AwsLc, number).unwrap();
    let (caller, challenge) = desk.post_token(&token(1, &client.claims(&[("g1", 1)], 2_000_000))).unwrap();
    let Caller::Peer(id, _) = caller else { panic!("a peer") };
    let at = ReturnAddress { base: "coap://192.0.2.1:61616".into(), opaque: "there".into() };
    let caller = Caller::Peer(id, Some(Endpoint { at: Some(at), ..Endpoint::new(vec![1], true) }));
    let mut join = client.join("g1", 1, &challenge, &[7; 8]);
    join.control_uri = Some("/control".into());
    let answer = desk.ask(&caller, join_post("g1", &join));
    assert_eq!(answer.status, Status::Created);
    (client, caller, JoinResponse::decode(&answer.payload).unwrap(), challenge)
}

fn of_kind(desk: &Desk, kind: RecordKind) -> usize {
    let number = kind.number.to_be_bytes();
    let is_it = |key: &[u8]| key.windows(6).any(|part| part[..3] == *b"/x/" && part[4..] == number);
    desk.store.dump().iter().filter(|(key, _)| is_it(key.as_bytes())).count()
}

#[test]
fn a_member_gets_what_its_scheme_gives_and_is_told_which_it_is() {
    let mut desk = on(&TestStore::new(Sharing::Exclusive), altered()).unwrap();
    let (client, caller, first, challenge) = joined(&mut desk, 1);
    let leaf = first.material.mgt_key_material.clone().unwrap();
    assert_eq!((first.material.rekeying_scheme, leaf.len(), of_kind(&desk, LEAF)), (Some(NUMBER), 16, 1));
    let answer = desk.ask(&caller, group_request(Method::Get, "g1", &[]));
    let asked = KeyDistribution::decode(&answer.payload).unwrap();
    assert_eq!((asked.rekeying_scheme, asked.mgt_key_material.is_none()), (Some(NUMBER), true));
    // Who joins again has what it had.
    let again = desk.ask(&caller, join_post("g1", &client.join("g1", 1, &challenge, &[8; 8])));
    assert_eq!(again.status, Status::Changed);
    assert_eq!(JoinResponse::decode(&again.payload).unwrap().material.mgt_key_material.as_ref(), Some(&leaf));
    let (_, _, other, _) = joined(&mut desk, 2);
    assert_ne!(other.material.mgt_key_material.as_ref(), Some(&leaf));
    assert_eq!(of_kind(&desk, LEAF), 2);
}

#[test]
fn a_scheme_says_who_is_told_of_a_version_in_the_commit_that_begins_it() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store, altered()).unwrap();
    joined(&mut desk, 1);
    joined(&mut desk, 2);
    assert_eq!(of_kind(&desk, VERSION), 0);
    let commits = desk.kdc.stats().commits;
    desk.command(Command::Rekey("g1".into())).unwrap();
    assert_eq!((desk.kdc.stats().commits - commits, of_kind(&desk, VERSION)), (1, 1));
    let pass = |desk: &mut Desk| {
        (0..100).for_each(|_| desk.pass(Duration::from_millis(100)));
        std::mem::take(&mut desk.deliveries).len()
    };
    assert_eq!(pass(&mut desk), 0, "those who observe are told, and nobody else");
    // Another process goes on with it, as the scheme says.
    let now = desk.now;
    drop(desk);
    let mut desk = on(&store, altered()).unwrap();
    desk.now = now;
    assert_eq!(pass(&mut desk), 2, "each member");
}

#[test]
fn point_to_point_is_the_scheme_where_nothing_is_said() {
    let mut desk = on(&TestStore::new(Sharing::Exclusive), Altered::default()).unwrap();
    let (_, _, joined, _) = joined(&mut desk, 1);
    assert_eq!((joined.material.rekeying_scheme, joined.material.mgt_key_material.is_none()), (None, true));
}
