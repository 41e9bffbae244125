//! What is configured is compared with what is stored when a KDC starts: parameters of groups, and issuers.

mod issuers;
mod parameters;

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::check::Check;
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::engine::Machine;
use ace_groupcomm::kdc::{KdcConfig, Restore, StartRefusal};
use ace_groupcomm::keys::{self, PrincipalId};
use ace_groupcomm::records::{GroupConfiguration, Head, NamedGroup, Principal, TrustedIssuers};
use ace_groupcomm::testkit::build::{self, AUDIENCE, TestClient, group_request, join_post, token, token_post_with};
use ace_groupcomm::testkit::store::Fault;
use ace_groupcomm::testkit::{Desk, TestStore, desk, toy};
use ace_groupcomm::token::{CwtValidator, Issuer, TokenKey, TrustChange};
use ace_groupcomm::traits::storage::{CommitOutcome, Sharing, Storage, Txn};
use ace_groupcomm::traits::transport::AssociationNotice;
use ace_groupcomm::{Caller, Method, Now, RecordType, Status};
use ace_groupcomm_messages::Strictness;
use std::sync::Arc;
use std::time::Duration;

const LATER: u64 = 2_000_000;

fn store() -> TestStore {
    TestStore::new(Sharing::Exclusive)
}

fn assert_clean(store: &TestStore) {
    let mut check = Check::default();
    store.dump().iter().for_each(|(key, record)| check.record(key, &record.value));
    let findings = check.finish();
    assert!(findings.is_clean(), "{findings}");
}

/// Groups, each with a length of identifiers.
fn groups(lengths: &[(&str, Option<i64>)]) -> KdcConfig {
    let names: Vec<&str> = lengths.iter().map(|(name, _)| *name).collect();
    let mut config = desk::config(&names);
    for (group, (_, length)) in config.groups.iter_mut().zip(lengths) {
        if let Some(length) = length {
            group.parameters.insert("max_id", ConfigValue::Int(*length));
        }
    }
    config
}

fn refusal(desk: &Desk) -> Option<StartRefusal> {
    let why = desk.kdc.refused()?;
    assert!(!desk.kdc.is_ready());
    Some(why.downcast_ref::<StartRefusal>().unwrap().clone())
}

fn configuration(store: &TestStore, gname: &str) -> Option<GroupConfiguration> {
    let NamedGroup { id, .. } = store.record(&keys::name(gname))?;
    store.record(&keys::config(id))
}

fn head(store: &TestStore) -> Head {
    let NamedGroup { id, .. } = store.record(&keys::name("g1")).unwrap();
    store.record(&keys::head(id)).unwrap()
}

/// A process that has not started yet.
fn process(store: &TestStore, config: KdcConfig) -> Desk {
    use rand_core::SeedableRng;
    let validator = Box::new(build::validator(&["g1"]));
    let kdc =
        ace_groupcomm::kdc::Kdc::new(config, &toy::registry(), validator, store.sharing(), Arc::new(AwsLc)).unwrap();
    let now = Now::new(1_000_000, Duration::from_secs(1));
    let rng = rand_chacha::ChaCha12Rng::seed_from_u64(9);
    let mut desk = Desk::over(&AwsLc, kdc, store.clone(), now);
    desk.rng = rng;
    desk
}
