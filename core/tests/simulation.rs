//! Two engines over one store, with loss, conflicts, crashes and unknown commits: the rules hold, each seed replays,
//! and each rule that is broken on purpose is found.

use ace_groupcomm::testkit::ledger::Violation;
use ace_groupcomm::testkit::sim::{Options, Sabotage, Simulation, Summary};
use ace_groupcomm::traits::storage::Sharing;

fn run(seed: u64, options: Options) -> Result<Summary, Violation> {
    Simulation::new(seed, options).and_then(Simulation::run)
}

/// Seeds for this run: `ACE_SIM_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("ACE_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(24)
}

/// Runs all seeds. Returns the sum of what came of them.
fn run_all(options: Options) -> Summary {
    let mut sum = Summary::default();
    for seed in 0..seeds() {
        let summary = run(seed, options).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        sum.joins += summary.joins;
        sum.retrievals += summary.retrievals;
        sum.listings += summary.listings;
        sum.conflicts += summary.conflicts;
        sum.crashes += summary.crashes;
        sum.answers += summary.answers;
        sum.unavailable += summary.unavailable;
        sum.strange += summary.strange;
        sum.versions += summary.versions;
        sum.deliveries += summary.deliveries;
        sum.left += summary.left;
        sum.restores += summary.restores;
    }
    let each = |sum: u64| sum / seeds();
    assert!(each(sum.joins) > 10 && sum.retrievals > 0 && sum.listings > 0 && sum.crashes > 0, "{sum:?}");
    assert!(sum.versions > seeds() && sum.deliveries > 0 && sum.left > 0, "{sum:?}");
    sum
}

// Covers: TH-5-02/commits-then-errors, TH-5-02/errors-uncommitted
// Covers: TH-3-02/read-order
#[test]
fn the_rules_hold_whatever_happens() {
    let sum = run_all(Options::default());
    assert!(sum.conflicts > 0, "{sum:?}");
}

#[test]
fn three_engines_and_few_clients_meet_more_often() {
    run_all(Options { hosts: 3, clients: 12, faults: 100, crashes: 50, ..Options::default() });
}

#[test]
fn one_engine_on_storage_of_its_own_keeps_the_rules() {
    let options = Options { hosts: 1, clients: 40, sharing: Sharing::Exclusive, page: 3, ..Options::default() };
    run_all(Options { faults: 60, crashes: 30, ..options });
}

#[test]
fn a_memory_too_small_for_the_group_keeps_the_rules() {
    for (hosts, sharing) in [(2, Sharing::Shared), (1, Sharing::Exclusive)] {
        run_all(Options { hosts, sharing, clients: 40, page: 3, records: 44, loss: 5, ..Options::default() });
    }
}

#[test]
fn an_engine_whose_commits_take_longer_is_not_starved() {
    let options = Options {
        clients: 40,
        slowness: 16,
        roaming: 0,
        pace: 2,
        faults: 0,
        loss: 0,
        crashes: 1,
        steps: 8_000,
        ..Options::default()
    };
    let sum = run_all(options);
    assert!((sum.unavailable - sum.strange) * 100 < sum.answers, "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let options = Options { steps: 2_000, ..Options::default() };
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, options), run(seed, options));
    }
    assert_ne!(run(1, options).unwrap().trace, run(2, options).unwrap().trace);
}

#[test]
fn a_joiner_never_holds_a_version_from_before_its_membership() {
    for clients in [12, 200] {
        run_all(Options { backward: true, clients, ..Options::default() });
    }
    run_all(Options { backward: true, hosts: 1, clients: 30, sharing: Sharing::Exclusive, ..Options::default() });
}

// Covers: TH-5-01/living-members
#[test]
fn backups_are_restored_and_versions_go_on_from_the_newest_that_there_was() {
    let sum = run_all(Options { restores: 20, clients: 40, ..Options::default() });
    assert!(sum.restores > 0, "{sum:?}");
}

#[test]
fn a_month_ends_with_the_newest_version_at_all_members_and_nobody_else() {
    for seed in 0..seeds().div_ceil(12) {
        let options = Options { backward: seed % 2 == 1, ..Options::month(1_000) };
        let summary = run(seed, options).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        let Summary { seconds, versions, crashes, left, deliveries, .. } = summary;
        let has_lived = versions > 100 && crashes > 10 && left > 50 && deliveries > 1_000;
        assert!(has_lived && seconds >= 30 * 86_400, "{summary:?}");
    }
}

fn finds(sabotage: Sabotage, expected: impl Fn(&Violation) -> bool) {
    finds_in(Options { sabotage, clients: 20, ..Options::default() }, expected);
}

fn finds_in(options: Options, expected: impl Fn(&Violation) -> bool) {
    let sabotage = options.sabotage;
    let mut found = Vec::new();
    let is_found = (0..40).filter_map(|seed| run(seed, options).err()).any(|violation| {
        let is_expected = expected(&violation);
        found.push(violation);
        is_expected
    });
    assert!(is_found, "{sabotage:?} gave {found:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    finds(Sabotage::AcknowledgeBeforeCommit, |violation| matches!(violation, Violation::NotDurable(_)));
}

#[test]
fn commits_that_expect_nothing_are_found() {
    finds(Sabotage::ExpectNothing, |violation| matches!(violation, Violation::SenderIdTwice(_)));
}

#[test]
fn commits_that_expect_the_head_alone_are_found() {
    finds(Sabotage::ExpectHeadOnly, |violation| {
        matches!(violation, Violation::Inconsistent(_) | Violation::KeyForOutsider(_))
    });
}

#[test]
fn engines_that_trust_their_memory_are_found() {
    finds(Sabotage::TrustMemory, |violation| matches!(violation, Violation::KeyForOutsider(_)));
}

// Covers: TH-3-04/store-unique
#[test]
fn a_cursor_that_is_not_persisted_gives_no_identifier_twice() {
    run_all(Options { sabotage: Sabotage::CursorLost, clients: 20, steps: 2_000, ..Options::default() });
}

#[test]
fn identifiers_that_are_not_persisted_are_found() {
    finds(Sabotage::IdentifiersLost, |violation| {
        matches!(violation, Violation::SenderIdTwice(_) | Violation::NotDurable(_))
    });
}

#[test]
fn a_rekeying_that_no_process_takes_up_is_found() {
    let options = Options { crashes: 100, sabotage: Sabotage::NotResumed, clients: 20, ..Options::default() };
    let options = Options { hosts: 1, sharing: Sharing::Exclusive, ..options };
    finds_in(options, |violation| matches!(violation, Violation::CauseLost | Violation::Undone));
}

#[test]
fn a_version_that_members_are_told_of_before_its_commit_is_found() {
    finds(Sabotage::ToldBeforeCommit, |violation| {
        matches!(violation, Violation::KeyForOutsider(_) | Violation::NotDurable(_))
    });
}

#[test]
fn a_membership_that_is_read_before_the_head_is_found() {
    finds(Sabotage::MembershipBeforeHead, |violation| matches!(violation, Violation::KeyForOutsider(_)));
}

#[test]
fn keying_material_that_is_kept_is_found() {
    finds(Sabotage::SecretKept, |violation| matches!(violation, Violation::OldSecret(_)));
}

#[test]
fn a_joiner_that_gets_an_older_version_is_found() {
    let options = Options { backward: true, sabotage: Sabotage::JoinerGetsOlder, clients: 20, ..Options::default() };
    finds_in(options, |violation| matches!(violation, Violation::KeyFromBefore(_)));
}

#[test]
fn a_cause_that_hides_an_earlier_one_is_found() {
    finds(Sabotage::CauseHidden, |violation| matches!(violation, Violation::CauseLost));
}

#[test]
fn a_version_that_goes_back_is_found() {
    finds(Sabotage::VersionGoesBack, |violation| matches!(violation, Violation::VersionBack(..)));
}
