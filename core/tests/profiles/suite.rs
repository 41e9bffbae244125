//! The suite for profiles catches profiles that are wrong in one place.

use crate::altered::{Altered, descriptor};
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::refusal::Refusal;
use ace_groupcomm::testkit::profile::{Sides, suite};
use ace_groupcomm::testkit::toy::id_in;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey};
use ace_groupcomm::traits::member::{GroupJoined, MemberRules, Unsuitable};
use ace_groupcomm::traits::profile::{ApplicationProfile, KeyAudience, Roles};
use ace_groupcomm_messages::{GetCreds, JoinRequest, JoinResponse, KeyDistribution, RawCbor, ScopeEntry};
use std::sync::Arc;

fn member(key: &str) -> ConfigMap {
    let mut member = ConfigMap::default();
    member.insert("key", ConfigValue::Text(key.repeat(32)));
    member
}

fn of(altered: Altered) -> Result<(), String> {
    suite(&AwsLc, &descriptor(altered), &Sides { group: ConfigMap::default(), members: [member("11"), member("22")] })
}

/// What a member's side does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    TakesAnyAnswer,
    TakesAnyKey,
    FindsNoIdentifier,
    LeavesTheProofOut,
    OthersRoles,
    TakesAnyRoles,
}

struct Flawed(Arc<dyn MemberRules>, Flaw);

fn flawed<const FLAW: usize>(toy: Arc<dyn MemberRules>) -> Arc<dyn MemberRules> {
    let flaws = [
        Flaw::TakesAnyAnswer,
        Flaw::TakesAnyKey,
        Flaw::FindsNoIdentifier,
        Flaw::LeavesTheProofOut,
        Flaw::OthersRoles,
        Flaw::TakesAnyRoles,
    ];
    Arc::new(Flawed(toy, flaws[FLAW]))
}

impl MemberRules for Flawed {
    fn gname(&self) -> &str {
        self.0.gname()
    }

    fn roles(&self) -> Roles {
        if self.1 == Flaw::OthersRoles { Roles(8) } else { self.0.roles() }
    }

    fn scope(&self) -> ScopeEntry {
        self.0.scope()
    }

    fn with_roles(&self, roles: Roles) -> Arc<dyn MemberRules> {
        Arc::new(Self(self.0.with_roles(roles), self.1))
    }

    fn profile(&self) -> &'static dyn ApplicationProfile {
        self.0.profile()
    }

    fn crypto(&self) -> &dyn CryptoProvider {
        self.0.crypto()
    }

    fn identity(&self) -> Option<&Identity> {
        self.0.identity()
    }

    fn key_of(&self, cred: &[u8]) -> Option<PublicKey> {
        self.0.key_of(cred)
    }

    fn key(&self, distribution: &KeyDistribution) -> Result<RawCbor, Unsuitable> {
        if self.1 == Flaw::TakesAnyKey { Ok(distribution.key.clone()) } else { self.0.key(distribution) }
    }

    fn own_id(&self, key: &RawCbor) -> Option<Vec<u8>> {
        id_in(key).filter(|_| self.1 != Flaw::FindsNoIdentifier)
    }

    fn narrowed(&self, granted: &ScopeEntry) -> Result<Arc<dyn MemberRules>, Unsuitable> {
        if self.1 == Flaw::TakesAnyRoles { Ok(self.with_roles(self.roles())) } else { self.0.narrowed(granted) }
    }

    fn join(&self, challenge: &[u8], cnonce: &[u8], get_creds: Option<GetCreds>) -> Result<JoinRequest, Unsuitable> {
        let mut join = self.0.join(challenge, cnonce, get_creds)?;
        if self.1 == Flaw::LeavesTheProofOut {
            join.client_cred_verify = None;
        }
        Ok(join)
    }

    fn joined(&self, response: JoinResponse, cnonce: &[u8]) -> Result<GroupJoined, Unsuitable> {
        match self.1 {
            Flaw::TakesAnyAnswer => {
                let key = self.key(&response.material)?;
                Ok(GroupJoined::new(response, key))
            }
            Flaw::TakesAnyKey => {
                let mut checked = response.clone();
                checked.material.key = RawCbor::bytes(&[0; 20]);
                self.0.joined(checked, cnonce)?;
                let key = response.material.key.clone();
                Ok(GroupJoined::new(response, key))
            }
            _ => self.0.joined(response, cnonce),
        }
    }
}

fn told(altered: Altered, expected: &str) {
    match of(altered) {
        Err(told) => assert!(told.contains(expected), "{expected}: {told}"),
        Ok(()) => panic!("{expected}: nothing was said"),
    }
}

#[test]
fn the_toy_profile_passes_the_suite() {
    assert_eq!(of(Altered::default()), Ok(()));
}

#[test]
fn a_profile_that_is_wrong_in_one_place_does_not_pass_the_suite() {
    let as_it_is = Altered::default;
    told(Altered { resource_type: Some("a b"), ..as_it_is() }, "`resource_type`");
    told(Altered { takes_unknown: true, ..as_it_is() }, "does not know is an error");
    told(Altered { client_proves: Some(true), ..as_it_is() }, "its proof was altered");
    told(Altered { client_proves: Some(false), ..as_it_is() }, "what the member's side makes joins");
    let broken = |_: &ace_groupcomm::View<'_>, _: &[u8]| Err(Refusal::Internal("a bug").into());
    told(Altered { eligible: Some(broken), ..as_it_is() }, "what the member's side makes joins");
    let alike = |_: KeyAudience<'_>| Some(RawCbor::bytes(&[0, 7].repeat(10)));
    told(Altered { key: Some(alike), ..as_it_is() }, "two members have two identifiers");
}

#[test]
fn a_members_side_that_is_wrong_in_one_place_does_not_pass_the_suite() {
    let of = |member| Altered { member: Some(member), ..Altered::default() };
    told(of(flawed::<0>), "a member takes no answer to another N_C");
    told(of(flawed::<1>), "a member takes no key that is none of its profile");
    told(of(flawed::<2>), "finds it in the key");
    told(of(flawed::<3>), "what the member's side makes joins");
    told(of(flawed::<4>), "the roles that it was made with");
    told(of(flawed::<5>), "a member takes no roles that are none of its profile");
}
