//! The end of a membership, and a group that rests.

use super::*;

// Covers: TH-3-06/error-wipe
// Covers: KG-4.8.1.1-01
#[test]
fn a_membership_that_is_over_leaves_no_key_behind() {
    let cases = [
        (GroupcommError::NotAMember, Some(MemberEvent::Ended)),
        (GroupcommError::MembershipTerminated, Some(MemberEvent::Ended)),
        (GroupcommError::GroupDeleted, Some(MemberEvent::GroupDeleted)),
        (GroupcommError::GroupInactive, None),
        (GroupcommError::NoIndividualKeyingMaterial, None),
    ];
    for (error, event) in cases {
        let mut asked = House::new(REQUESTER);
        let mut observed = House::new(REQUESTER);
        let results = [asked.run(Operation::Observe, &[refusal(error)]), observed.notified(refusal(error), &[])];
        for (result, house) in results.into_iter().zip([asked, observed]) {
            assert!(matches!(result, Err(MemberError::Refused { status: Status::Forbidden, .. })), "{result:?}");
            assert_eq!(house.member.group().is_none(), event.is_some(), "{error:?}");
            assert_eq!(house.events, event.clone().into_iter().collect::<Vec<_>>());
            let former = house.member.state().former.get("g").and_then(|former| former.num);
            assert_eq!(former, event.is_some().then_some(0));
        }
    }
    // Without the Content-Format of problem details nobody knows what it means.
    let mut house = House::new(REQUESTER);
    let bare =
        Response::new(Status::Forbidden).with_payload(CBOR, refusal(GroupcommError::NotAMember).payload.to_vec());
    assert!(house.run(Operation::Observe, &[bare]).is_err() && house.member.group().is_some());
}

#[test]
fn who_leaves_has_left_also_where_the_kdc_knows_no_such_member() {
    for (answer, event) in
        [(Response::new(Status::Deleted), MemberEvent::Left), (refusal(GroupcommError::NotAMember), MemberEvent::Ended)]
    {
        let mut house = House::new(REQUESTER);
        assert_eq!(house.run(Operation::Leave, &[answer]), Ok(()));
        assert_eq!((house.member.group(), house.events.clone()), (None, vec![event]));
        assert_eq!(house.run(Operation::Leave, &[]), Err(MemberError::NotAMember));
    }
    let mut house = House::new(REQUESTER);
    assert!(house.run(Operation::Leave, &[refusal(GroupcommError::GroupInactive)]).is_err());
    assert!(house.member.group().is_some(), "it is a member as long as nobody says otherwise");
}

// Covers: GO-9.9-01
#[test]
fn who_asks_for_the_status_is_told_when_the_group_rests_and_when_it_goes_on() {
    let status = |active| Response::new(Status::Content).with_payload(CBOR, retrieval::encode_active(active));
    let mut house = House::new(REQUESTER);
    let step = Step::Asked(Request::new(Method::Get, ["ace-group", "g", "active"]));
    for (active, events) in
        [(true, vec![]), (false, vec![MemberEvent::Inactive]), (false, vec![]), (true, vec![MemberEvent::Active])]
    {
        house.steps.clear();
        assert_eq!(house.run(Operation::Status, &[status(active)]), Ok(()));
        assert!(house.steps.contains(&step), "{:?}", house.steps);
        assert_eq!((house.events.clone(), house.member.group().unwrap().inactive), (events, !active));
    }
    assert!(house.run(Operation::Status, &[refusal(GroupcommError::NotAMember)]).is_err());
    assert_eq!((house.member.group(), house.events.clone()), (None, vec![MemberEvent::Ended]));
}
