//! Tokens that come with a handshake, and associations whose keys come of it: what the network side of such a transport does.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::registry::{Registry, TransportProfileDescriptor};
use ace_groupcomm::testkit::build::{TestClient, group_request, token, token_post_with};
use ace_groupcomm::testkit::toy::{self, ToyTransport};
use ace_groupcomm::testkit::{Desk, TestStore, desk};
use ace_groupcomm::traits::storage::Sharing;
use ace_groupcomm::traits::transport::{
    AssociationNeed, AssociationNotice, NewAssociation, Offer, TransportProfile, TransportRefusal,
};
use ace_groupcomm::{AssociationId, Caller, Endpoint, Method, Secret, Status};
use ace_groupcomm_messages::{Confirmation, TokenTransferRequest};
use std::collections::BTreeSet;

/// The toy transport, whose keys are to come of a handshake.
struct Handshaking;

impl TransportProfile for Handshaking {
    fn number(&self) -> i64 {
        -70_000
    }

    fn key_is_public(&self, cnf: &Confirmation) -> bool {
        ToyTransport.key_is_public(cnf)
    }

    fn awaits_handshake(&self) -> bool {
        true
    }

    fn associate(
        &self,
        post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal> {
        ToyTransport.associate(post, cnf, offer)
    }
}

fn on_with(store: &TestStore, transport: TransportProfileDescriptor) -> Desk {
    let registry = Registry::empty().with_transport(transport).unwrap().with_application(toy::DESCRIPTOR).unwrap();
    let mut desk = Desk::with(&AwsLc, store.clone(), desk::config(&["g1"]), &registry).unwrap();
    desk.notices.clear();
    desk
}

fn on(store: &TestStore) -> Desk {
    on_with(store, TransportProfileDescriptor { profile: &Handshaking, ..toy::TRANSPORT })
}

fn a_token() -> Vec<u8> {
    token(1, &TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], 2_000_000))
}

/// A handshake brings a token: the association that the KDC makes of it, and what the network side was told of that.
fn handshake(desk: &mut Desk, token: &[u8]) -> (AssociationId, AssociationNotice) {
    desk.notices.clear();
    // The cookie of the handshake has shown where the client is.
    let caller = Caller::Anonymous(Some(Endpoint::new(vec![192, 0, 2, 1], true)));
    let answer = desk.ask(&caller, token_post_with(token, &[7; 8]));
    assert_eq!(answer.status, Status::Created);
    (answer.association.unwrap(), desk.notices.pop().unwrap())
}

fn need(desk: &mut Desk, need: AssociationNeed) -> Vec<AssociationNotice> {
    desk.notices.clear();
    desk.need(need);
    std::mem::take(&mut desk.notices)
}

fn status(desk: &mut Desk, id: &AssociationId) -> Status {
    desk.ask(&Caller::peer(id), group_request(Method::Get, "g1", &["num"])).status
}

#[test]
fn a_token_that_comes_with_a_handshake_names_its_association_to_the_program_alone() {
    let mut desk = on_with(&TestStore::new(Sharing::Exclusive), toy::TRANSPORT);
    let (id, notice) = handshake(&mut desk, &a_token());
    let AssociationNotice::New { id: told, profile, material } = notice else { panic!("{notice:?}") };
    assert_eq!((&told, profile), (&id, -70_000));
    assert!(!material.expose().is_empty(), "the network side knows the key before it finishes the handshake");
    // Lost messages bring the same token in the same post again: it is the same association.
    desk.notices.clear();
    let again = desk.ask(&Caller::anonymous(), token_post_with(&a_token(), &[7; 8]));
    assert_eq!((again.association, desk.notices.len()), (Some(id.clone()), 0));
    assert_eq!(status(&mut desk, &id), Status::Forbidden, "known, and no member");
    let other = desk.ask(&Caller::peer(&id), group_request(Method::Get, "g1", &["num"]));
    assert_eq!(other.association, None);
}

#[test]
fn keys_that_come_of_a_handshake_are_those_of_the_association_also_for_the_next_process() {
    let store = TestStore::new(Sharing::Exclusive);
    let mut desk = on(&store);
    let (id, _) = handshake(&mut desk, &a_token());
    // Before it has ended nothing is taken under it, and nobody gets at what was before.
    assert_eq!(status(&mut desk, &id), Status::ServiceUnavailable);
    let unavailable = AssociationNotice::Unavailable { id: id.clone() };
    for need_of in [AssociationNeed::Unknown, AssociationNeed::Sequence] {
        assert_eq!(need(&mut desk, need_of(id.clone())), std::slice::from_ref(&unavailable));
    }
    let exported = Secret::new(vec![9; 32]);
    let established = AssociationNeed::Established(id.clone(), exported.clone());
    let new = AssociationNotice::New { id: id.clone(), profile: -70_000, material: exported.clone() };
    assert_eq!(need(&mut desk, established.clone()), [new]);
    let loaded =
        |owned| AssociationNotice::Loaded { id: id.clone(), profile: -70_000, material: exported.clone(), owned };
    assert_eq!(need(&mut desk, AssociationNeed::Unknown(id.clone())), [loaded(true)], "while it waits");
    // A handshake ends once, before the association is in use and after.
    let other = AssociationNeed::Established(id.clone(), Secret::new(vec![8; 32]));
    assert_eq!(need(&mut desk, other.clone()), std::slice::from_ref(&unavailable));
    assert_eq!(status(&mut desk, &id), Status::Forbidden);
    assert_eq!(need(&mut desk, other), [unavailable]);
    assert_eq!(need(&mut desk, AssociationNeed::Unknown(id.clone())), [loaded(true)]);
    let mut next = on(&store);
    assert_eq!(need(&mut next, AssociationNeed::Unknown(id.clone())), [loaded(true)]);
    assert_eq!(status(&mut next, &id), Status::Forbidden);
    let nobody = AssociationId::from(vec![1]);
    let established = AssociationNeed::Established(nobody.clone(), exported);
    assert_eq!(need(&mut next, established), [AssociationNotice::Unavailable { id: nobody }]);
}

#[test]
fn needs_have_an_order_in_which_each_is_itself_alone() {
    let id = || AssociationId::from(vec![1]);
    let needs = [
        AssociationNeed::Sequence(id()),
        AssociationNeed::Challenge(id()),
        AssociationNeed::Unknown(id()),
        AssociationNeed::Claim(id()),
        AssociationNeed::Established(id(), Secret::new(vec![1])),
        AssociationNeed::Established(id(), Secret::new(vec![2])),
        AssociationNeed::Established(AssociationId::from(vec![2]), Secret::new(vec![1])),
    ];
    let set: BTreeSet<_> = needs.iter().chain(&needs).collect();
    assert_eq!(set.len(), needs.len());
    assert!(needs.iter().take(6).all(|need| *need.id() == id()));
}
