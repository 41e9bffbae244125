//! Members are put out, and may come back; tokens are revoked.

use super::*;
use ace_groupcomm::TokenHash;

// Covers: TH-4-02/due-in-commit, TH-3-01/eviction-ban, TH-3-01/ban-end, TH-3-01/ban-commit
// Covers: TH-3-01/altered-token
#[test]
fn who_is_put_out_stays_out_until_its_token_ends_or_that_is_lifted() {
    let mut desk = desk();
    let evicted = joined(&mut desk, 1, &[("g1", 1), ("g2", 1)]);
    let other = joined(&mut desk, 2, &[("g1", 1)]);
    let node = node_of(&mut desk, "g1", 1);
    let evict = Command::Evict { group: "g1".into(), node: node.clone() };
    desk.notices.clear();
    let commits = desk.kdc.stats().commits;
    let Ok(Report::Evicted(ban)) = desk.command(evict.clone()) else { panic!() };
    assert_eq!(desk.kdc.stats().commits, commits + 1, "membership, rekeying and ban are one commit");
    assert_eq!((ban.subject.as_str(), ban.since, ban.until), ("client1", UnixTime::new(NOW), UnixTime::new(END)));
    let due = head(&desk, "g1").unwrap().rekey_due.unwrap();
    assert_eq!((due.reasons, head(&desk, "g1").unwrap().members), ([RekeyReason::Evicted].into(), 1));
    assert!(desk.notices.iter().any(|notice| matches!(notice, AssociationNotice::Restricted { .. })), "observers end");
    assert_clean(&desk);
    // One group alone, and it stays a client.
    let answer = num(&mut desk, &evicted, "g1");
    assert_eq!((answer.status, error(&answer)), (Status::Forbidden, Some(GroupcommError::NotAMember)));
    assert_eq!(num(&mut desk, &evicted, "g2").status, Status::Content);
    assert_eq!(num(&mut desk, &other, "g1").status, Status::Content);
    assert_eq!(desk.command(evict.clone()), Err(CommandError::NoMember { group: "g1".into(), node: node.clone() }));
    // Neither its association nor a new token of another end brings it back.
    let (again, challenge) = desk.post_token(&token_of(1, &[("g1", 1), ("g2", 1)], None)).unwrap();
    assert_eq!(try_join(&mut desk, &again, &challenge, 1, "g1").status, Status::Forbidden);
    let mut claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], END + 500_000);
    claims.iat = Some(NOW);
    let (newer, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    assert_eq!(try_join(&mut desk, &newer, &challenge, 1, "g1").status, Status::Forbidden);
    // Nor does the old one in another form, whose hash would be another.
    let mut altered = token_of(1, &[("g1", 1), ("g2", 1)], None);
    let empty = altered.iter().position(|byte| *byte == 0xa0).unwrap();
    altered.splice(empty..=empty, [0xa1, 0x04, 0x41, 0xaa]);
    let post = desk.ask(&Caller::anonymous(), ace_groupcomm::testkit::build::token_post(&altered));
    assert_eq!(post.status, Status::BadRequest);
    let Ok(Report::Bans(bans)) = desk.command(Command::Bans("g1".into(), first(10))) else { panic!() };
    assert_eq!(bans.entries, [ban]);
    // Lifted, it comes as the same node.
    let lift = Command::Lift { group: "g1".into(), node: node.clone() };
    assert!(matches!(desk.command(lift.clone()), Ok(Report::Lifted(_))));
    assert_eq!(desk.command(lift), Err(CommandError::NoBan { group: "g1".into(), node: node.clone() }));
    assert_eq!(try_join(&mut desk, &newer, &challenge, 1, "g1").status, Status::Created);
    assert_eq!(node_of(&mut desk, "g1", 1), node);
    assert_clean(&desk);
    // A ban goes with the token that its client had.
    assert!(matches!(desk.command(evict), Ok(Report::Evicted(ban)) if ban.until == UnixTime::new(END + 500_000)));
    desk.pass(Duration::from_secs(END + 500_000 - 1 - NOW));
    assert_eq!(bans_stored(&desk), 1);
    desk.pass(Duration::from_secs(1));
    assert_eq!(bans_stored(&desk), 0, "nothing is left of it");
    assert_clean(&desk);
}

#[test]
fn a_ban_that_has_ended_lets_its_client_join_with_a_newer_token() {
    let mut desk = desk();
    let mut claims = TestClient::new(&AwsLc, 1).unwrap().claims(&[("g1", 1)], NOW + 100);
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    assert_eq!(try_join(&mut desk, &caller, &challenge, 1, "g1").status, Status::Created);
    let node = node_of(&mut desk, "g1", 1);
    desk.command(Command::Evict { group: "g1".into(), node }).unwrap();
    claims.exp = Some(END);
    let (caller, challenge) = desk.post_token(&token(1, &claims)).unwrap();
    for (after, status) in [(99, Status::Forbidden), (1, Status::Created)] {
        desk.pass(Duration::from_secs(after));
        assert_eq!(try_join(&mut desk, &caller, &challenge, 1, "g1").status, status);
    }
    assert_eq!(desk.store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"b")).count(), 0);
}

#[test]
fn a_revocation_says_whom_it_has_ended() {
    let mut desk = desk();
    let scope: &[(&str, u64)] = &[("g1", 1), ("g2", 1)];
    let caller = joined(&mut desk, 1, scope);
    let hash = TokenHash::of(&token_of(1, scope, None));
    let Ok(Report::Revoked(revocation)) = desk.command(Command::Revoke(hash.clone())) else { panic!() };
    assert_eq!((revocation.subject.as_deref(), revocation.groups.len()), (Some("client1"), 2));
    assert_eq!(num(&mut desk, &caller, "g1").status, Status::Unauthorized);
    assert_eq!(desk.command(Command::Revoke(hash)), Ok(Report::Revoked(Default::default())), "it is good for nothing");
    assert_eq!(desk.post_token(&token_of(1, scope, None)), None);
    desk.due();
    assert_eq!(head(&desk, "g2").unwrap().rekey_due.unwrap().reasons, [RekeyReason::Revoked].into());
    assert_clean(&desk);
}

#[test]
fn two_operators_at_once_put_a_member_out_once() {
    let store = TestStore::new(Sharing::Shared);
    let config = || desk::config(&["g1"]);
    let (mut one, mut other) =
        (Desk::new(&AwsLc, store.clone(), config()).unwrap(), Desk::new(&AwsLc, store, config()).unwrap());
    joined(&mut one, 1, &[("g1", 1)]);
    let node = node_of(&mut one, "g1", 1);
    assert_eq!(node_of(&mut other, "g1", 1), node);
    let evict = Command::Evict { group: "g1".into(), node };
    assert!(one.command(evict.clone()).is_ok());
    assert!(matches!(other.command(evict), Err(CommandError::NoMember { .. })));
    assert_eq!(one.store.dump().iter().filter(|(key, _)| key.as_bytes().starts_with(b"ban/")).count(), 1);
    assert!(one.command(delete("g1", false)).is_ok());
    assert_eq!(other.command(delete("g1", false)), Err(CommandError::NoGroup("g1".into())));
}
