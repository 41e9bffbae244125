//! A KDC is killed at every step from a leave to the end of its rekeying.

use super::delivery::from;
use super::*;
use crate::process::Process;
use ace_groupcomm::records::RekeyReason;
use ace_groupcomm::testkit::build::group_request;
use ace_groupcomm::traits::storage::CommitOutcome;
use std::time::Duration;

/// When a process is killed: before its commit of this number since the leave was asked for is made, or before it learns of it.
#[derive(Clone, Copy, Debug)]
struct Kill {
    commit: usize,
    is_made: bool,
}

/// Lets time pass, and commits be made, until the process is killed or nothing happens any more. Returns whether it was killed.
fn lives(process: &mut Process, kill: Option<Kill>) -> bool {
    let mut commits = 0;
    for _ in 0..400 {
        process.pass(Duration::from_secs(2));
        while !process.held.is_empty() {
            if let Some(kill) = kill.filter(|kill| kill.commit == commits) {
                let (_, txn) = process.held.remove(0);
                if kill.is_made {
                    assert!(matches!(process.store.commit_now(txn), CommitOutcome::Done(_)));
                }
                return true;
            }
            commits += process.held.len();
            process.commit();
        }
    }
    false
}

// Covers: TH-4-02/every-step
#[test]
fn a_group_is_rekeyed_once_for_a_leave_wherever_the_kdc_is_killed() {
    let mut killed = 0;
    for (commit, is_made) in (0..8).flat_map(|commit| [(commit, false), (commit, true)]) {
        let store = TestStore::new(Sharing::Exclusive);
        let mut process = Process::new(&store, 1);
        let clients = [1, 2].map(|number| process.client(number));
        for (port, (client, caller, challenge)) in (40_000..).zip(&clients) {
            let mut join = client.join("g1", TALKER, challenge, &[7; 8]);
            join.control_uri = Some("/control".into());
            process.ask(&from(caller, port), join_post("g1", &join));
            process.commit_all();
        }
        let stays = process.answers.pop().unwrap();
        let leaves = process.answers.pop().unwrap();
        assert_eq!((stays.status, leaves.status), (Status::Created, Status::Created));
        let node = leaves.location_path[3].clone();
        process.ask(&clients[0].1, group_request(Method::Delete, "g1", &["nodes", &node]));
        let was_killed = lives(&mut process, Some(Kill { commit, is_made }));
        killed += usize::from(was_killed);
        let has_left = commit > 0 || is_made;
        // The next process goes on, however often it is started.
        for number in 2..4 {
            let mut next = Process::new(&store, number);
            next.now = next.now.plus(Duration::from_secs(3_600 * u64::from(number)));
            lives(&mut next, None);
        }
        let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
        let head: Head = store.record(&keys::head(id)).unwrap();
        assert_eq!((head.num, head.members), (u64::from(has_left), 2 - u64::from(has_left)), "{commit} {is_made}");
        assert_eq!(head.rekey_due.map(|due| due.reasons), None::<std::collections::BTreeSet<RekeyReason>>);
    }
    assert!(killed >= 6, "{killed}: the leave, the version, and that it was told");
}
