use super::*;

fn named(number: u8) -> AssociationId {
    AssociationId::from(vec![number])
}

fn client(number: u8) -> PrincipalId {
    PrincipalId::of("as", &number.to_string())
}

fn pending(id: u8, number: u8) -> Pending {
    Pending {
        id: named(id),
        profile: 2,
        material: Secret::default(),
        input_id: vec![],
        issuer: "as".into(),
        subject: number.to_string(),
        token: StoredToken {
            hash: vec![id].into(),
            scope: vec![],
            expires: UnixTime::EPOCH,
            notice: None,
            sequence: None,
            issuer_key: None,
            issued: None,
        },
        answer: vec![],
        has_sequence_numbers: true,
        awaits_handshake: false,
        kdcchallenge: None,
        former: None,
        post: [id; 32],
        host: None,
    }
}

/// The same, by a token of its own.
fn by(token: u8, pending: Pending) -> Pending {
    let token = StoredToken { hash: vec![token].into(), ..pending.token.clone() };
    Pending { token, ..pending }
}

/// The same, from a host that has proven its address.
fn from(host: u8, pending: Pending) -> Pending {
    Pending { host: Some(Bytes::copy_from_slice(&[host])), ..pending }
}

impl Pendings {
    /// Whether one more of this client could come, by a token of its own.
    fn has_room(&self, now: Now, client: PrincipalId) -> bool {
        matches!(self.place(now, client, &b"new".into(), None), Place::Free | Place::Instead(_))
    }

    fn take(&mut self, pending: Pending) -> Place {
        let place = self.place(at(0), pending.client(), &pending.token.hash, pending.host.as_ref());
        self.insert(at(0), pending);
        place
    }
}

fn at(seconds: u64) -> Now {
    Now::new(0, Duration::from_secs(seconds))
}

fn table() -> Pendings {
    let limits = PendingLimits { per_token: 2, per_client: 2, total: 3, ..PendingLimits::default() };
    Pendings::new(limits)
}

// Covers: TH-6-01/least-lifetime
#[test]
fn one_client_cannot_push_others_out() {
    let mut table = table();
    assert!(table.insert(at(0), pending(200, 9)).is_empty());
    for id in 1..=2 {
        assert!(table.has_room(at(0), client(1)));
        assert!(table.insert(at(0), pending(id, 1)).is_empty());
    }
    assert!(!table.has_room(at(29), client(1)), "the first one is too young to go");
    assert_eq!(table.of_post(&[2; 32]).map(|known| known.id.clone()), Some(named(2)));
    for id in 3..=50 {
        let now = at(30 * u64::from(id));
        assert!(table.has_room(now, client(1)));
        assert_eq!(table.insert(now, pending(id, 1)), [named(id - 2)]);
    }
    assert_eq!(table.len(), 3);
    assert!(table.get(&named(200)).is_some() && table.get(&named(50)).is_some() && table.get(&named(48)).is_none());
    assert!(table.of_post(&[48; 32]).is_none() && table.of_post(&[50; 32]).is_some());
}

// Covers: TH-6-01/least-lifetime
#[test]
fn a_full_table_keeps_the_young() {
    let mut table = table();
    for id in 1..=3 {
        table.insert(at(u64::from(id)), pending(id, id));
    }
    assert!(!table.has_room(at(30), client(4)), "the oldest is 29 seconds old");
    assert!(table.has_room(at(31), client(4)));
    assert_eq!(table.insert(at(31), pending(4, 4)), [named(1)]);
    table.remove(&named(2));
    table.remove(&named(2));
    assert!(table.has_room(at(31), client(5)));
    assert_eq!(table.len(), 2);
}

#[test]
fn nobody_waits_for_ever() {
    let mut table = table();
    assert_eq!(table.next_timeout(), None);
    table.insert(at(0), pending(1, 1));
    table.insert(at(5), pending(2, 2));
    assert_eq!(table.next_timeout(), Some(Duration::from_secs(600)));
    assert!(table.expire(at(599)).is_empty());
    assert_eq!(table.expire(at(600)), [named(1)]);
    assert_eq!(table.expire(at(700)), [named(2)]);
    assert_eq!(table.len(), 0);
}

#[test]
fn a_token_has_a_bound_of_its_own_and_who_has_proven_its_address_gets_in() {
    let limits = PendingLimits { per_token: 2, per_client: 4, total: 5, ..PendingLimits::default() };
    let mut table = Pendings::new(limits);
    let old = |id| by(100, pending(id, 1));
    assert_eq!((table.take(old(1)), table.take(old(2))), (Place::Free, Place::Free));
    // The third post of one token has no place: not without a proof, and it takes nobody's.
    assert_eq!((table.take(old(3)), table.len()), (Place::ForProven, 2));
    assert_eq!(table.take(by(101, pending(4, 1))), Place::Free, "another token");
    // Who has proven its address takes the place of the oldest one who has not, and has one place for a token.
    assert_eq!(table.take(from(9, old(5))), Place::Instead(named(1)));
    assert_eq!(table.take(from(9, old(6))), Place::Instead(named(5)));
    assert_eq!(table.take(from(8, old(7))), Place::Instead(named(2)));
    // Now nobody who has proven no more does.
    assert_eq!((table.take(from(7, old(8))), table.take(old(9))), (Place::None, Place::None));
    assert!(table.get(&named(6)).is_some() && table.get(&named(7)).is_some() && table.len() == 3);
    // The client's bound, and that of all, by the same rule.
    assert_eq!(table.take(by(102, pending(10, 1))), Place::Free);
    assert_eq!(table.take(by(103, pending(11, 1))), Place::ForProven);
    assert_eq!(table.take(from(9, by(103, pending(12, 1)))), Place::Instead(named(4)));
    assert_eq!(table.take(pending(13, 2)), Place::Free);
    assert_eq!(table.take(pending(14, 3)), Place::ForProven);
    assert_eq!(table.take(from(9, pending(15, 3))), Place::Instead(named(10)));
    assert_eq!((table.len(), table.unproven.len(), table.by_age.len()), (5, 1, 5));
    // What is old enough goes for anybody.
    assert_eq!(table.place(at(30), client(1), &b"d".into(), None), Place::Instead(named(6)));
}

// Covers: TH-6-01/total-bound
#[test]
fn a_million_posts_stay_within_the_bound_of_all() {
    let mut table = Pendings::new(PendingLimits::default());
    let template = pending(1, 1);
    for number in 0..1_000_000_u32 {
        let name = number.to_be_bytes();
        let mut post = [0; 32];
        post[..4].copy_from_slice(&name);
        let token = StoredToken { hash: name.to_vec().into(), ..template.token.clone() };
        // Each from a client of its own, and half of them from a host that has proven where it is.
        let host = number.is_multiple_of(2).then(|| Bytes::copy_from_slice(&name));
        let (id, subject) = (AssociationId::from(name.to_vec()), number.to_string());
        table.insert(at(u64::from(number / 1_000)), Pending { id, subject, token, post, host, ..template.clone() });
    }
    assert_eq!((table.len(), table.by_age.len(), table.by_post.len()), (65_536, 65_536, 65_536));
    assert_eq!(table.by_client.len(), 65_536);
    assert!(table.unproven.len() <= 65_536);
}
