//! What a device keeps when its membership ends, and what it takes when it begins anew.

use super::*;

// Covers: TH-7-06/lower-num, TH-7-06/changed-kdc
#[test]
fn a_member_that_joins_again_is_told_of_an_older_version_and_of_another_kdc() {
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        device.run(operation);
    }
    assert_eq!(device.member.take_events(), [MemberEvent::Joined { num: 0 }]);
    device.disk.groups.get_mut(World::GROUP).unwrap().kdc_cred.0 = vec![7];
    device.restart(true);
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.member.take_events(), [MemberEvent::KdcCredChanged, MemberEvent::Joined { num: 0 }]);
    // It is refused as long as it is a member of a newer version, and told where it was put out since.
    device.disk.groups.get_mut(World::GROUP).unwrap().num = 3;
    device.restart(true);
    assert!(matches!(device.run(Operation::Join), Some(Err(MemberError::Unusable(text))) if text.contains("older")));
    let group = device.disk.groups.remove(World::GROUP).unwrap();
    let former = FormerGroup { num: Some(3), spent: group.spent.clone() };
    device.disk.former.insert(World::GROUP.into(), former);
    device.restart(true);
    device.member.take_events();
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.member.take_events(), [MemberEvent::Older { num: 0 }, MemberEvent::Joined { num: 0 }]);
    assert!(device.disk.former.is_empty());
}

// Covers: TH-7-04/second-export
#[test]
fn who_has_left_does_not_use_its_former_identifier_again() {
    let mut device = Device::new();
    for operation in ALL {
        device.run(operation);
    }
    let former = device.id();
    assert_eq!(device.run(Operation::Leave), Some(Ok(())));
    assert_eq!(device.member.take_events().last(), Some(&MemberEvent::Left));
    assert_eq!(device.run(Operation::Keys), Some(Err(MemberError::NotAMember)));
    assert!(device.disk.groups.is_empty() && device.disk.former.len() == 1);
    assert_eq!(device.run(Operation::Join), Some(Ok(())));
    assert_eq!(device.run(Operation::Keys), Some(Ok(())));
    assert_ne!(device.id(), former);
    let spent = &device.member.group().unwrap().spent;
    assert_eq!(spent.len(), 2, "both are known as used");
}

// Covers: TH-7-02/silent
#[test]
fn a_device_that_does_not_know_what_it_used_hands_nothing_out_before_the_kdc_has_answered() {
    let mut device = Device::new();
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        device.run(operation);
    }
    let (former, posts) = (device.id(), device.posts);
    device.restart(false);
    // The post, the join, and the join again.
    for fate in [vec![Fate::Lost], vec![Fate::Well, Fate::Lost], vec![Fate::Lost]] {
        device.fate = fate.into();
        assert!(matches!(device.run(Operation::Keys), Some(Err(MemberError::Exchange(_)))));
        assert!(device.member.group().unwrap().spent.iter().all(|name| *name != Bytes(former.clone())));
    }
    assert!(device.posts > posts);
    assert_eq!(device.run(Operation::Keys), Some(Ok(())));
    assert_ne!(device.id(), former);
}
