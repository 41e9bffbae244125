//! Two engines over one store, with loss, conflicts, crashes and unknown commits: the rules hold, each seed replays,
//! and each rule that is broken on purpose is found.

use ace_groupcomm::testkit::ledger::Violation;
use ace_groupcomm::testkit::sim::{Options, Sabotage, Simulation, Summary};

fn run(seed: u64, options: Options) -> Result<Summary, Violation> {
    Simulation::new(seed, options).and_then(Simulation::run)
}

/// Seeds for this run: `ACE_SIM_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("ACE_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

// Covers: TH-5-02
#[test]
fn the_rules_hold_whatever_happens() {
    let (mut joins, mut retrievals, mut conflicts, mut crashes) = (0, 0, 0, 0);
    for seed in 0..seeds() {
        let summary = run(seed, Options::default()).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        joins += summary.joins;
        retrievals += summary.retrievals;
        conflicts += summary.conflicts;
        crashes += summary.crashes;
    }
    let each = |sum: u64| sum / seeds();
    assert!(
        each(joins) > 20 && each(retrievals) > 20 && conflicts > 0 && crashes > 0,
        "{joins} {retrievals} {conflicts} {crashes}"
    );
}

#[test]
fn three_engines_and_few_clients_meet_more_often() {
    for seed in 0..seeds() / 2 {
        let options = Options { hosts: 3, clients: 12, faults: 100, crashes: 50, ..Options::default() };
        run(seed, options).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let options = Options { steps: 2_000, ..Options::default() };
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, options), run(seed, options));
    }
    assert_ne!(run(1, options).unwrap().trace, run(2, options).unwrap().trace);
}

fn finds(sabotage: Sabotage, expected: impl Fn(&Violation) -> bool) {
    let options = Options { sabotage, clients: 20, ..Options::default() };
    let found: Vec<Violation> = (0..40).filter_map(|seed| run(seed, options).err()).collect();
    assert!(found.iter().any(expected), "{sabotage:?} gave {found:?}");
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

#[test]
fn a_version_that_goes_back_is_found() {
    finds(Sabotage::VersionGoesBack, |violation| matches!(violation, Violation::VersionBack(..)));
}
