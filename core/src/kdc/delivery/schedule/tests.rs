use super::*;

fn group(number: u8) -> GroupId {
    GroupId::new([number; 16])
}

fn client(number: u8) -> PrincipalId {
    PrincipalId::new([number; 16])
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The members that are sent something in the next step, one after the other.
fn sent(steps: &[Step]) -> Vec<PrincipalId> {
    let client = |step: &Step| match step {
        Step::Send { client, .. } => Some(*client),
        _ => None,
    };
    steps.iter().filter_map(client).collect()
}

/// A rekeying of a group with these members, all of which were read.
fn begun(deliveries: &mut Deliveries, gname: &str, number: u8, clients: &[u8]) {
    deliveries.begin(gname, group(number), 1, None);
    let now = deliveries.next(at(0)).unwrap();
    let reads = deliveries.take(now).into_iter().any(|step| matches!(step, Step::Read { after: None, .. }));
    assert!(reads);
    deliveries.read(gname, 1, clients.iter().copied().map(client).collect(), false);
}

#[test]
fn each_member_is_sent_it_once_and_who_confirms_is_done() {
    let mut deliveries = Deliveries::default();
    begun(&mut deliveries, "g", 1, &[1, 2, 3]);
    let steps = deliveries.take(at(1_000));
    assert_eq!(sent(&steps), [client(1), client(2), client(3)]);
    assert!(steps.iter().all(|step| !matches!(step, Step::Send { patience, .. } if *patience != FIRST_PATIENCE)));
    assert_eq!(deliveries.under_way(), 3);
    assert_eq!(deliveries.told(at(2_000), "g", 1, client(1), Told::Done), None);
    assert_eq!(deliveries.told(at(2_000), "g", 1, client(1), Told::Done), None, "once");
    assert_eq!(deliveries.told(at(2_000), "g", 2, client(2), Told::Done), None, "of another version");
    assert_eq!(deliveries.told(at(2_000), "g", 1, client(2), Told::Done), None);
    let over = deliveries.told(at(2_000), "g", 1, client(3), Told::Done).unwrap();
    assert_eq!((over.num, over.confirmed, over.unreached, deliveries.under_way()), (1, 3, 0, 0));
    assert_eq!(deliveries.next(at(3_000)), None);
}

#[test]
fn who_is_silent_comes_again_behind_all_others_and_is_given_up_in_the_end() {
    let mut deliveries = Deliveries::default();
    begun(&mut deliveries, "g", 1, &[1, 2]);
    assert_eq!(sent(&deliveries.take(at(1_000))).len(), 2);
    assert_eq!(deliveries.told(at(7_000), "g", 1, client(1), Told::Not), None);
    assert_eq!(deliveries.told(at(7_000), "g", 1, client(2), Told::Done), None);
    let mut now = at(7_000);
    for after in AGAIN {
        now += after;
        assert_eq!(deliveries.next(at(0)), Some(now));
        assert_eq!(sent(&deliveries.take(now - at(1))), []);
        let steps = deliveries.take(now);
        assert!(matches!(steps.as_slice(), [Step::Send { patience, .. }] if *patience == PATIENCE), "{steps:?}");
        let over = deliveries.told(now, "g", 1, client(1), Told::Not);
        assert_eq!(over.is_some(), after == AGAIN[2]);
        assert!(over.is_none_or(|over| (over.confirmed, over.unreached) == (1, 1)));
    }
    assert_eq!(deliveries.next(now), None);
}

#[test]
fn who_observes_is_looked_at_again_when_a_notification_would_have_failed() {
    let mut deliveries = Deliveries::default();
    begun(&mut deliveries, "g", 1, &[1, 2]);
    deliveries.take(at(1_000));
    assert_eq!(deliveries.told(at(1_000), "g", 1, client(1), Told::Observes), None);
    assert_eq!(deliveries.told(at(1_000), "g", 1, client(2), Told::Observes), None);
    let later = at(1_000) + OBSERVED;
    assert_eq!(deliveries.next(at(2_000)), Some(later));
    assert_eq!(sent(&deliveries.take(later)).len(), 2);
    // The one observes still; of the other the observation has ended, and it is sent a request.
    assert_eq!(deliveries.told(later, "g", 1, client(1), Told::Observes), None);
    let over = deliveries.told(later, "g", 1, client(2), Told::Done).unwrap();
    assert_eq!((over.confirmed, over.unreached), (2, 0));
}

#[test]
fn what_is_sent_is_paced_and_groups_have_turns() {
    let mut deliveries = Deliveries::default();
    let clients: Vec<u8> = (0..=255).collect();
    begun(&mut deliveries, "a", 1, &clients);
    begun(&mut deliveries, "b", 2, &clients[..30]);
    let groups = |steps: &[Step]| {
        let of = |step: &Step| matches!(step, Step::Send { gname, .. } if gname == "b");
        (sent(steps).len(), steps.iter().filter(|step| of(step)).count())
    };
    let mut now = at(1_000);
    assert_eq!(groups(&deliveries.take(now)), (STEP, STEP / 2), "half of them for each");
    assert_eq!((groups(&deliveries.take(now)), deliveries.next(now)), ((0, 0), Some(now + PACE)));
    let mut of_b = STEP / 2;
    while of_b < 30 {
        now += PACE;
        of_b += groups(&deliveries.take(now)).1;
    }
    now += PACE;
    assert_eq!(groups(&deliveries.take(now)), (STEP, 0), "the other has all of it then");
}

// Covers: TH-4-04/congestion-control
#[test]
fn so_many_are_under_way_at_most_and_one_that_is_done_makes_room() {
    let mut deliveries = Deliveries::default();
    deliveries.begin("g", group(1), 1, None);
    let name = |number: usize| {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        PrincipalId::new(bytes)
    };
    let mut now = at(0);
    let (mut read, mut all) = (0, 0);
    while all < PLACES {
        for step in deliveries.take(now) {
            match step {
                Step::Read { .. } => {
                    deliveries.read("g", 1, (read..read + PAGE).map(name).collect(), true);
                    read += PAGE;
                }
                Step::Send { .. } => all += 1,
                Step::Note { after, .. } => assert!(after.is_some()),
            }
        }
        now += PACE;
    }
    assert_eq!((all, deliveries.under_way(), sent(&deliveries.take(now)).len()), (PLACES, PLACES, 0));
    deliveries.told(now, "g", 1, name(0), Told::Done);
    now += PACE;
    assert_eq!(sent(&deliveries.take(now)).len(), 1);
}

#[test]
fn a_rekeying_that_comes_meanwhile_goes_on_where_the_former_one_stood_and_round() {
    let mut deliveries = Deliveries::default();
    let clients: Vec<PrincipalId> = (0..50).map(client).collect();
    deliveries.begin("g", group(1), 1, None);
    deliveries.take(at(0));
    deliveries.read("g", 1, clients.clone(), false);
    let first = sent(&deliveries.take(at(1_000)));
    assert_eq!(first, clients[..STEP]);
    deliveries.begin("g", group(1), 2, None);
    assert_eq!(deliveries.under_way(), 0, "what is under way is of the former one");
    assert_eq!(deliveries.told(at(1_000), "g", 1, client(0), Told::Done), None);
    let steps = deliveries.take(at(2_000));
    let Some(Step::Read { after: Some(after), num: 2, .. }) = steps.first() else { panic!("{steps:?}") };
    assert_eq!(*after, client(20), "it was next");
    // Behind it to the end, and then from the first one to it.
    deliveries.read("g", 2, clients[21..].to_vec(), false);
    let steps = deliveries.take(at(3_000));
    assert!(steps.iter().any(|step| matches!(step, Step::Read { after: None, .. })), "{steps:?}");
    let mut order = sent(&steps);
    deliveries.read("g", 2, clients.clone(), false);
    let mut now = at(5_000);
    while order.len() < 50 {
        let more = sent(&deliveries.take(now));
        assert!(!more.is_empty());
        order.extend(more);
        now += PACE;
    }
    let expected: Vec<PrincipalId> = clients[21..].iter().chain(&clients[..21]).copied().collect();
    assert_eq!(order, expected, "each once");
    assert_eq!(sent(&deliveries.take(now)), []);
}

// Covers: TH-4-02/progress-cursor
#[test]
fn how_far_it_has_come_is_stored_once_a_second() {
    let mut deliveries = Deliveries::default();
    deliveries.begin("g", group(1), 7, Some(client(9)));
    let steps = deliveries.take(at(0));
    assert_eq!(steps, [Step::Read { gname: "g".into(), group: group(1), num: 7, after: Some(client(9)) }]);
    deliveries.read("g", 7, vec![client(10)], true);
    let noted =
        |steps: Vec<Step>| steps.into_iter().filter(|step| matches!(step, Step::Note { .. })).collect::<Vec<_>>();
    let note = Step::Note { group: group(1), num: 7, after: Some(client(10)) };
    assert_eq!(noted(deliveries.take(at(100))), [note]);
    deliveries.read("g", 7, vec![client(11)], true);
    assert_eq!(noted(deliveries.take(at(500))), []);
    assert_eq!(noted(deliveries.take(at(1_200))).len(), 1);
    assert_eq!(noted(deliveries.take(at(9_000))), [], "where it has not gone on there is nothing to store");
}

#[test]
fn a_group_that_takes_no_requests_is_over_at_once() {
    let mut deliveries = Deliveries::default();
    begun(&mut deliveries, "g", 1, &[]);
    assert_eq!(deliveries.ended("g").map(|over| (over.confirmed, over.unreached)), Some((0, 0)));
    assert_eq!(deliveries.next(at(0)), None);
    begun(&mut deliveries, "g", 1, &[1]);
    assert_eq!(deliveries.ended("g"), None);
    deliveries.end("g");
    assert_eq!((deliveries.next(at(0)), deliveries.under_way()), (None, 0));
}
