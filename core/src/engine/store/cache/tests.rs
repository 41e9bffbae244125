//! What memory makes of what it is shown, in whatever order.

use super::*;
use crate::schema::records::BelongsTo;
use crate::{plain_record, records::Mark};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Word(u64);
plain_record!(Word);

fn key(name: &str) -> Key {
    Key::new(name.as_bytes().to_vec())
}

fn stored(word: u64, revision: u64) -> Option<Record> {
    Some(Record { value: Word(word).encode().into(), revision: Revision(revision) })
}

fn seen(cache: &Cache, name: &str) -> Option<Option<u64>> {
    cache.get(&key(name)).map(|entry| entry.record::<Word>().unwrap().map(|word| word.0))
}

fn span(cache: &Cache, name: &str) -> (LoadId, LoadId) {
    cache.get(&key(name)).map(|entry| (entry.first, entry.last)).unwrap()
}

fn changes(list: &[(&str, Option<u64>)]) -> BTreeMap<Key, Change> {
    let change = |word: Option<u64>| word.map(|word| Arc::new(Word(word)) as Arc<dyn AnyRecord>);
    list.iter().map(|(name, word)| (key(name), change(*word))).collect()
}

fn expected(list: &[(&str, Option<u64>)]) -> BTreeMap<Key, Option<Revision>> {
    list.iter().map(|(name, revision)| (key(name), revision.map(Revision))).collect()
}

fn page(records: &[(&str, u64, u64)], more: bool) -> Page {
    let records = records.iter().map(|(name, word, revision)| (key(name), stored(*word, *revision).unwrap()));
    Page { records: records.collect(), more }
}

fn uncertain(names: &[&str]) -> BTreeSet<Key> {
    names.iter().map(|name| key(name)).collect()
}

fn listing(cache: &Cache, at: Option<Option<u64>>) -> Option<Vec<String>> {
    let keys = cache.listing(&key("m/"), at.map(|at| at.map(Revision)))?;
    Some(keys.iter().map(|key| String::from_utf8(key.as_bytes().to_vec()).unwrap()).collect())
}

#[test]
fn what_could_not_be_read_is_looked_at_again() {
    let mut cache = Cache::default();
    let (first, second) = (cache.begin_load(), cache.begin_load());
    let is_corrupt = |cache: &Cache| cache.get(&key("a")).unwrap().record::<Word>().is_err();
    let empty = Some(Record { value: Vec::new().into(), revision: Revision(5) });
    cache.loaded(key("a"), empty, first);
    assert!(is_corrupt(&cache));
    cache.loaded(key("a"), stored(7, 5), second);
    assert!(!is_corrupt(&cache));
    assert_eq!((seen(&cache, "a"), span(&cache, "a")), (Some(Some(7)), (2, 2)));
}

#[test]
fn a_value_is_known_from_the_first_to_the_last_load_that_showed_it() {
    let mut cache = Cache::default();
    let loads: Vec<LoadId> = (0..4).map(|_| cache.begin_load()).collect();
    assert_eq!((loads[0], cache.newest()), (1, 4));
    cache.loaded(key("a"), stored(7, 5), 1);
    cache.loaded(key("a"), stored(7, 5), 3);
    cache.loaded(key("a"), stored(7, 5), 2);
    assert_eq!((seen(&cache, "a"), span(&cache, "a")), (Some(Some(7)), (1, 3)));
    cache.loaded(key("a"), stored(8, 6), 4);
    assert_eq!((seen(&cache, "a"), span(&cache, "a")), (Some(Some(8)), (4, 4)));
    // That nothing is there at two moments says nothing of the time between.
    cache.loaded(key("b"), None, 1);
    cache.loaded(key("b"), None, 3);
    assert_eq!((seen(&cache, "b"), span(&cache, "b")), (Some(None), (3, 3)));
    assert_eq!((seen(&cache, "c"), cache.len()), (None, 2));
    assert!(cache.get(&key("a")).unwrap().record::<BelongsTo<crate::keys::GroupId>>().is_err(), "another kind");
    assert!(cache.get(&key("a")).unwrap().record::<Mark>().is_err());
}

#[test]
fn a_load_that_began_before_a_commit_ended_does_not_bring_the_old_value_back() {
    let mut cache = Cache::default();
    let early = cache.begin_load();
    cache.committed(changes(&[("a", Some(2)), ("b", None)]), Revision(9), &BTreeMap::new());
    let late = cache.begin_load();
    assert_eq!((seen(&cache, "a"), seen(&cache, "b"), span(&cache, "a")), (Some(Some(2)), Some(None), (0, 0)));
    cache.loaded(key("a"), stored(1, 5), early);
    cache.loaded(key("b"), stored(1, 5), early);
    assert_eq!((seen(&cache, "a"), seen(&cache, "b")), (Some(Some(2)), Some(None)));
    // The same value in an early load is no contradiction, and tells a moment.
    cache.loaded(key("a"), stored(2, 9), early);
    assert_eq!(span(&cache, "a"), (early, early));
    cache.loaded(key("a"), stored(3, 12), late);
    assert_eq!(seen(&cache, "a"), Some(Some(3)));
    // Once no early load is under way, nothing has to be remembered of it.
    cache.committed(changes(&[("a", Some(4))]), Revision(15), &BTreeMap::new());
    cache.loads_since(Some(late));
    cache.loaded(key("a"), stored(3, 12), late);
    assert_eq!(seen(&cache, "a"), Some(Some(4)), "that one may be old yet");
    cache.loads_since(None);
    cache.loaded(key("a"), stored(3, 12), late);
    assert_eq!(seen(&cache, "a"), Some(Some(3)), "forgotten");
}

#[test]
fn what_is_remembered_of_commits_is_thrown_away_when_it_is_much() {
    let mut cache = Cache::default();
    let early = cache.begin_load();
    let names: Vec<String> = (0..SETTLED_FEW + 1).map(|n| format!("k{n}")).collect();
    for name in &names {
        cache.committed(changes(&[(name, Some(1))]), Revision(9), &BTreeMap::new());
    }
    let late = cache.begin_load();
    cache.committed(changes(&[("late", Some(1))]), Revision(9), &BTreeMap::new());
    cache.loads_since(Some(early));
    assert_eq!(cache.settled.len(), names.len() + 1, "the early load is under way");
    cache.loads_since(Some(late));
    assert_eq!(cache.settled.len(), names.len() + 1, "it was looked through at this size");
    for name in (0..SETTLED_FEW + 3).map(|n| format!("l{n}")) {
        cache.committed(changes(&[(&name, Some(1))]), Revision(9), &BTreeMap::new());
    }
    cache.loads_since(Some(late));
    assert_eq!(cache.settled.len(), SETTLED_FEW + 4, "what is of the early load is gone");
    assert!(cache.settled.contains_key(&key("late")) && !cache.settled.contains_key(&key("k0")));
    let mut few = Cache::default();
    let only = few.begin_load();
    few.committed(changes(&[("a", Some(1))]), Revision(9), &BTreeMap::new());
    few.begin_load();
    few.loads_since(Some(only + 1));
    assert_eq!(few.settled.len(), 1, "few are not worth it");
}

#[test]
fn a_conflict_shows_what_is_there_and_nobody_knows_since_when() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("a"), stored(1, 5), load);
    cache.corrected(key("a"), stored(0, 5));
    cache.corrected(key("a"), stored(0, 4));
    assert_eq!((seen(&cache, "a"), span(&cache, "a")), (Some(Some(1)), (1, 1)), "nothing newer");
    assert!(!cache.get(&key("a")).unwrap().stray);
    cache.corrected(key("a"), stored(2, 6));
    assert_eq!((seen(&cache, "a"), span(&cache, "a")), (Some(Some(2)), (0, 0)));
    assert!(cache.get(&key("a")).unwrap().stray);
    cache.loaded(key("a"), stored(1, 5), load);
    assert_eq!(seen(&cache, "a"), Some(Some(2)), "the load may be older");
    let next = cache.begin_load();
    cache.loaded(key("a"), stored(2, 6), next);
    assert!(!cache.get(&key("a")).unwrap().stray && span(&cache, "a") == (2, 2));
    cache.corrected(key("new"), stored(3, 1));
    assert_eq!(seen(&cache, "new"), Some(Some(3)));
    cache.corrected(key("a"), None);
    assert_eq!(seen(&cache, "a"), None, "gone, nobody knows when: looked up again");
    cache.loaded(key("a"), stored(2, 6), next);
    assert_eq!(seen(&cache, "a"), None, "not from a load that began before");
}

#[test]
fn of_a_commit_that_somebody_has_followed_nothing_is_taken_in() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("a"), stored(9, 20), load);
    cache.loaded(key("b"), stored(1, 3), load);
    cache.committed(changes(&[("a", Some(5)), ("b", Some(5)), ("c", Some(5))]), Revision(10), &BTreeMap::new());
    assert_eq!((seen(&cache, "a"), seen(&cache, "b"), seen(&cache, "c")), (Some(Some(9)), None, None));
    // A load has shown the commit itself: that is no later one.
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("a"), stored(5, 10), load);
    cache.committed(changes(&[("a", Some(5)), ("b", Some(6))]), Revision(10), &BTreeMap::new());
    assert_eq!((seen(&cache, "a"), seen(&cache, "b")), (Some(Some(5)), Some(Some(6))));
}

#[test]
fn room_is_made_by_those_that_were_not_used_for_long() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    for name in ["a", "b", "c", "d", "e", "f"] {
        cache.loaded(key(name), stored(1, 1), load);
    }
    cache.shrink(6);
    assert_eq!(cache.len(), 6, "it fits");
    seen(&cache, "a");
    seen(&cache, "c");
    cache.shrink(3);
    let left = |cache: &Cache| ["a", "b", "c", "d", "e", "f"].iter().filter(|n| cache.get(&key(n)).is_some()).count();
    assert_eq!((cache.len(), left(&cache)), (3, 3));
    assert!(cache.get(&key("a")).is_some() && cache.get(&key("c")).is_some() && cache.get(&key("f")).is_some());
    // They had their second chance.
    cache.shrink(2);
    assert!(cache.get(&key("f")).is_none() && cache.len() == 2);
    seen(&cache, "a");
    seen(&cache, "c");
    cache.shrink(1);
    assert_eq!(cache.len(), 1, "also where all were used");
    cache.shrink(0);
    assert_eq!(cache.len(), 0);
    // Keys that come and go leave nothing behind.
    for _ in 0..100 {
        cache.loaded(key("x"), stored(1, 1), load);
        cache.forget(&key("x"));
        cache.loads_since(None);
        cache.shrink(10);
    }
    cache.loaded(key("x"), stored(1, 1), load);
    cache.loaded(key("y"), stored(1, 1), load);
    cache.shrink(10);
    assert!(cache.order.len() <= 4, "{}", cache.order.len());
    cache.shrink(1);
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_listing_is_known_when_all_pages_are_there_and_for_one_revision_of_its_guard() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("guard"), stored(0, 4), load);
    cache.begin_listing(key("m/"), key("guard"));
    let next = cache.page(&key("m/"), page(&[("m/1", 1, 2), ("m/2", 2, 3)], true), load, &uncertain(&[]));
    assert_eq!((next, listing(&cache, None)), (Some(key("m/2")), None));
    assert_eq!(cache.page(&key("m/"), page(&[("m/3", 3, 1)], false), load, &uncertain(&[])), None);
    let all = || Some(vec!["m/1".to_owned(), "m/2".into(), "m/3".into()]);
    assert_eq!((listing(&cache, None), listing(&cache, Some(Some(4)))), (all(), all()));
    assert_eq!((listing(&cache, Some(Some(5))), listing(&cache, Some(None))), (None, None), "another revision");
    assert_eq!((seen(&cache, "m/3"), span(&cache, "m/1")), (Some(Some(3)), (load, load)));
    // A commit that expects the guard as it is known carries the listing on.
    let known = expected(&[("guard", Some(4))]);
    cache.committed(changes(&[("guard", Some(1)), ("m/2", None), ("m/4", Some(4))]), Revision(9), &known);
    let then = || Some(vec!["m/1".to_owned(), "m/3".into(), "m/4".into()]);
    assert_eq!((listing(&cache, Some(Some(9))), listing(&cache, Some(Some(4)))), (then(), None));
    // One that expects something else, or nothing, does not; nor does one that writes no guard move it.
    cache.committed(changes(&[("guard", Some(2))]), Revision(12), &expected(&[("guard", Some(8))]));
    assert_eq!(listing(&cache, Some(Some(9))), then(), "known for the former revision yet");
    cache.committed(changes(&[("other", Some(1))]), Revision(13), &known);
    assert_eq!(listing(&cache, None), then());
    cache.committed(changes(&[("m/5", Some(4))]), Revision(14), &expected(&[("guard", Some(12))]));
    assert_eq!(listing(&cache, None), None, "forgotten");
    assert_eq!(cache.page(&key("m/"), page(&[], false), load, &uncertain(&[])), None);
    assert_eq!(listing(&cache, None), None, "a page of a scan that was given up makes no listing");
}

#[test]
fn a_guard_that_is_deleted_is_a_change_of_it() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("guard"), stored(0, 4), load);
    cache.begin_listing(key("m/"), key("guard"));
    cache.page(&key("m/"), page(&[], false), load, &uncertain(&[]));
    cache.committed(changes(&[("guard", None)]), Revision(9), &expected(&[("guard", Some(4))]));
    assert_eq!((listing(&cache, Some(None)), listing(&cache, Some(Some(9)))), (Some(vec![]), None));
}

#[test]
fn what_is_committed_during_a_scan_is_not_undone_by_its_pages() {
    let mut cache = Cache::default();
    let load = cache.begin_load();
    cache.loaded(key("guard"), stored(0, 4), load);
    cache.begin_listing(key("m/"), key("guard"));
    let known = expected(&[("guard", Some(4))]);
    cache.committed(changes(&[("guard", Some(1)), ("m/1", None), ("m/2", Some(22))]), Revision(9), &known);
    // Uncertain ones are part of the listing, shown by the page or not, and their values are not taken from it.
    let old = page(&[("m/1", 1, 2), ("m/2", 2, 3), ("m/3", 3, 3)], false);
    cache.page(&key("m/"), old, load, &uncertain(&["m/3", "m/4"]));
    assert_eq!(listing(&cache, None), Some(vec!["m/2".into(), "m/3".into(), "m/4".into()]));
    assert_eq!((seen(&cache, "m/1"), seen(&cache, "m/2")), (Some(None), Some(Some(22))));
    assert_eq!((seen(&cache, "m/3"), seen(&cache, "m/4")), (None, None));
    // Afterwards nothing of it is remembered: a later scan shows all again.
    cache.begin_listing(key("m/"), key("guard"));
    let late = cache.begin_load();
    cache.page(&key("m/"), page(&[("m/1", 5, 30)], false), late, &uncertain(&[]));
    assert_eq!((listing(&cache, None), seen(&cache, "m/1")), (Some(vec!["m/1".into()]), Some(Some(5))));
}

#[test]
fn a_conflict_or_a_doubt_within_a_listing_forgets_it() {
    let begin = || {
        let mut cache = Cache::default();
        let load = cache.begin_load();
        cache.loaded(key("guard"), stored(0, 4), load);
        cache.begin_listing(key("m/"), key("guard"));
        cache.page(&key("m/"), page(&[("m/1", 1, 2)], false), load, &uncertain(&[]));
        cache
    };
    let mut cache = begin();
    cache.corrected(key("m/2"), stored(1, 8));
    assert_eq!(listing(&cache, None), None);
    let mut cache = begin();
    cache.forget(&key("m/1"));
    assert_eq!(listing(&cache, None), None);
    let mut cache = begin();
    cache.forget(&key("n/1"));
    cache.forget(&key("l"));
    cache.corrected(key("guard"), stored(1, 8));
    assert!(listing(&cache, None).is_some(), "elsewhere");
    // The guard moves on, and what it had guarded is gone: nothing is left to move.
    cache.forget(&key("m/1"));
    cache.committed(changes(&[("guard", Some(1))]), Revision(9), &expected(&[("guard", Some(4))]));
    assert_eq!(listing(&cache, None), None);
}
