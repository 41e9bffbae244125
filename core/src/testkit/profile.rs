//! The suite that every application profile passes, at the KDC and, where it has one, at the member.
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::config::{ConfigMap, ConfigValue};
//! use ace_groupcomm::testkit::{profile::{Sides, suite}, toy};
//!
//! # fn main() -> Result<(), String> {
//! let member = |key: &str| {
//!     let mut member = ConfigMap::default();
//!     member.insert("key", ConfigValue::Text(key.repeat(32)));
//!     member
//! };
//! suite(&AwsLc, &toy::DESCRIPTOR, &Sides { group: ConfigMap::default(), members: [member("11"), member("22")] })
//! # }
//! ```

use super::world::{Device, World};
use super::{Desk, Failure, TestStore, build, desk, require, toy};
use crate::config::{ConfigMap, ConfigValue};
use crate::id::NodeName;
use crate::kdc::GroupConfig;
use crate::member::Operation;
use crate::registry::{ApplicationProfileDescriptor, Registry};
use crate::request::{Caller, Method, Response, Status};
use crate::traits::crypto::CryptoProvider;
use crate::traits::member::{GroupJoined, MemberRules};
use crate::traits::profile::check::sums;
use crate::traits::profile::{GroupRules, Roles};
use crate::traits::storage::Sharing;
use ace_groupcomm_messages::{
    Claims, JoinRequest, JoinResponse, KeyDistribution, RawCbor, Scope, ScopeEntry, ScopeValue,
};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::Arc;

/// GROUPNAME of the group that all joins of the suite are for.
const GROUP: &str = World::GROUP;
/// When its tokens end.
const LATER: u64 = 2_000_000;
/// N_C of its joins.
const N_C: [u8; 8] = [7; 8];

/// Parameters of a group, and of two members of it, each with keys of its own.
pub struct Sides {
    /// The group's at the KDC.
    pub group: ConfigMap,
    /// The members'.
    pub members: [ConfigMap; 2],
}

/// One run of the suite; each check sets up KDCs of its own.
struct Suite<'a> {
    crypto: &'static dyn CryptoProvider,
    descriptor: &'a ApplicationProfileDescriptor,
    sides: &'a Sides,
    rules: Arc<dyn GroupRules>,
}

/// A client whose token is posted.
struct Admitted {
    caller: Caller,
    rules: Arc<dyn MemberRules>,
    challenge: Vec<u8>,
}

/// Runs the whole suite.
///
/// # Errors
/// The first thing that the contract asks for and that did not hold.
pub fn suite(
    crypto: &'static dyn CryptoProvider,
    descriptor: &ApplicationProfileDescriptor,
    sides: &Sides,
) -> Result<(), Failure> {
    let rules = descriptor.profile.configure(GROUP, sides.group.clone(), crypto).map_err(|error| error.to_string())?;
    let suite = Suite { crypto, descriptor, sides, rules };
    suite.desk()?;
    suite.unknown_parameters()?;
    suite.any_permissions()?;
    let all = suite.roles();
    require(!all.is_empty(), "there are roles with which one joins")?;
    for roles in all {
        suite.one_joins(roles)?;
        suite.two_join(roles)?;
        suite.bad_proofs(roles)?;
        suite.bad_credentials(roles)?;
        suite.bad_answers(roles)?;
        suite.the_whole_way(roles)?;
    }
    Ok(())
}

impl Suite<'_> {
    /// A KDC with the group; setting it up looks at what the profile says of itself.
    fn desk(&self) -> Result<Desk, Failure> {
        let registry =
            Registry::empty().with_transport(toy::TRANSPORT).and_then(|r| r.with_application(*self.descriptor));
        let registry = registry.map_err(|error| error.to_string())?;
        let mut config = desk::config(&[]);
        let (profile, parameters) = (self.descriptor.name.into(), self.sides.group.clone());
        config.groups.push(GroupConfig { gname: GROUP.into(), profile, parameters });
        let desk = Desk::with(self.crypto, TestStore::new(Sharing::Exclusive), config, &registry);
        desk.map_err(|error| error.to_string())
    }

    /// The sums of named roles with which one joins.
    fn roles(&self) -> Vec<Roles> {
        let sums = sums(self.descriptor.profile.named_roles()).into_iter();
        let mut sums: Vec<Roles> = sums.filter(|roles| self.rules.may_join_with(*roles)).collect();
        sums.sort_unstable();
        sums.dedup();
        sums
    }

    fn unknown_parameters(&self) -> Result<(), Failure> {
        let unknown = |map: &ConfigMap| {
            let mut map = map.clone();
            map.insert("no-profile-knows-this", ConfigValue::Bool(true));
            map
        };
        let group = self.descriptor.profile.configure(GROUP, unknown(&self.sides.group), self.crypto);
        require(group.is_err(), "a parameter of a group that the profile does not know is an error")?;
        let (roles, crypto) = (self.roles(), Arc::new(self.crypto));
        let Some(roles) = roles.first() else { return Ok(()) };
        for member in self.sides.members.iter().map(unknown) {
            let member = self.descriptor.profile.member(GROUP, *roles, member, crypto.clone());
            require(member.is_err(), "a parameter of a member that the profile does not know is an error")?;
        }
        Ok(())
    }

    /// Any item may stand where a Tperm is expected. What is read of it can be written.
    fn any_permissions(&self) -> Result<(), Failure> {
        let profile = self.descriptor.profile;
        let items = (0..70).map(|bit| RawCbor::uint(1_u64.checked_shl(bit).unwrap_or(u64::MAX)));
        let others = [
            RawCbor::uint(0),
            RawCbor::int(-1),
            RawCbor::int(i64::MIN),
            RawCbor::text(""),
            RawCbor::text("all"),
            RawCbor::bytes(&[]),
            RawCbor::bytes(&[0xff; 300]),
            RawCbor::array(&[]),
            RawCbor::array(&[RawCbor::uint(1), RawCbor::text("x")]),
        ];
        for item in items.chain(others) {
            let Some(roles) = profile.roles(&item) else { continue };
            require(roles.0 != 0, "a Tperm without roles is no Tperm")?;
            let again = profile.roles(&profile.permissions(roles));
            require(again == Some(roles), "roles that are read of a Tperm come back of the one that they make")?;
        }
        Ok(())
    }

    fn member(&self, number: usize, roles: Roles) -> Result<Arc<dyn MemberRules>, Failure> {
        let config = self.sides.members.get(number).cloned().unwrap_or_default();
        let member = self.descriptor.profile.member(GROUP, roles, config, Arc::new(self.crypto));
        member.map_err(|error| error.to_string())
    }

    fn admit(&self, desk: &mut Desk, number: usize, roles: Roles) -> Result<Admitted, Failure> {
        let rules = self.member(number, roles)?;
        let client = build::TestClient::new(self.crypto, u16::try_from(number).unwrap_or_default());
        let claims = client.ok_or("the provider has no Ed25519")?.claims(&[], LATER);
        let scope = Scope::new([rules.scope()]).map_err(|error| error.to_string())?.encode();
        let scope = match self.rules.scope_tag() {
            Some(tag) => ScopeValue::Extended { tag, bytes: scope },
            None => ScopeValue::Bytes(scope),
        };
        let posted = desk.post_token(&build::token(1, &Claims { scope: Some(scope), ..claims }));
        let (caller, challenge) = posted.ok_or("a token with a scope of the member's is taken")?;
        Ok(Admitted { caller, rules, challenge })
    }

    fn request(&self, admitted: &Admitted) -> Result<JoinRequest, Failure> {
        let all = admitted.rules.get_creds().filter(|_| self.rules.shows_credential(admitted.rules.roles()));
        admitted.rules.join(&admitted.challenge, &N_C, all).map_err(|error| error.to_string())
    }

    fn joins(&self, desk: &mut Desk, admitted: &Admitted) -> Result<(GroupJoined, Response), Failure> {
        let response = desk.ask(&admitted.caller, build::join_post(GROUP, &self.request(admitted)?));
        require(response.status == Status::Created, &format!("what the member's side makes joins, not {response:?}"))?;
        let decoded = JoinResponse::decode(&response.payload).map_err(|error| error.to_string())?;
        let joined = admitted.rules.joined(decoded, &N_C).map_err(|error| error.to_string())?;
        Ok((joined, response))
    }

    fn one_joins(&self, roles: Roles) -> Result<(), Failure> {
        let mut desk = self.desk()?;
        let admitted = self.admit(&mut desk, 0, roles)?;
        let (joined, response) = self.joins(&mut desk, &admitted)?;
        let rules = &admitted.rules;
        require(rules.roles() == roles, "a member has the roles that it was made with")?;
        let own_id = rules.own_id(&joined.key);
        require(own_id.is_some() == self.rules.gets_identifier(roles), "who gets an identifier finds it in the key")?;
        let fits = own_id.as_ref().is_none_or(|id| self.rules.identifier_len().contains(&id.len()));
        require(fits, "an identifier is as long as the profile says")?;
        rules.key_parts(&joined.key).map_err(|error| error.to_string())?;
        let named = rules.key_name(&joined.key);
        require(named == rules.key_name(&joined.key), "one key has one name")?;
        let node = response.location_path.last().cloned().map(NodeName::new).ok_or("a join says where the node is")?;
        let asked = desk.ask(&admitted.caller, build::group_request(Method::Get, GROUP, &["nodes", node.as_str()]));
        let again = KeyDistribution::decode(&asked.payload).map_err(|error| error.to_string())?;
        let again = rules.key(&again).map_err(|error| error.to_string())?;
        require(again == joined.key, "a member that asks for its key gets what it has joined with")
    }

    fn two_join(&self, roles: Roles) -> Result<(), Failure> {
        let mut desk = self.desk()?;
        let (first, second) = (self.admit(&mut desk, 0, roles)?, self.admit(&mut desk, 1, roles)?);
        let (of_first, _) = self.joins(&mut desk, &first)?;
        let (of_second, _) = self.joins(&mut desk, &second)?;
        let ids = (first.rules.own_id(&of_first.key), second.rules.own_id(&of_second.key));
        require(ids.0.is_none() || ids.0 != ids.1, "two members have two identifiers")?;
        require(of_first.num == of_second.num, "a join that nothing makes a rekeying of leaves the version as it is")?;
        let known = of_second.peers.iter().find(|peer| Some(&peer.cred) == first.rules.identity().map(|own| &own.cred));
        let is_shown = self.rules.gets_identifier(roles)
            && self.rules.shows_credential(roles)
            && self.rules.peers_of(roles).meets(roles)
            && second.rules.get_creds().is_some();
        require(known.is_some() == is_shown, "who joins learns of the credentials of whom `peers_of` names")?;
        require(
            known.is_none_or(|peer| peer.roles.as_ref().is_none_or(|read| self.reads(read, roles))),
            "with the roles",
        )
    }

    /// Two members come from the AS to the keys, and one of them comes back after a crash.
    fn the_whole_way(&self, roles: Roles) -> Result<(), Failure> {
        let clients = ["one", "two"].map(|name| (name, roles));
        let mut world = World::new(self.crypto, *self.descriptor, self.sides.group.clone(), &clients)?;
        let mut ids = Vec::new();
        for (number, (name, _)) in clients.into_iter().enumerate() {
            let mut device = Device::new(name, self.member(number, roles)?);
            let mut does = |device: &mut Device, operation| {
                let done = device.run(&mut world, operation);
                require(done == Some(Ok(())), &format!("a member does {operation:?}, not {done:?}"))
            };
            for operation in [Operation::Token, Operation::Upload, Operation::Join, Operation::Keys, Operation::Creds] {
                does(&mut device, operation)?;
            }
            ids.extend(device.id());
            device.restart(true);
            does(&mut device, Operation::Keys)?;
            ids.extend(device.id());
        }
        let (count, distinct) = (ids.len(), ids.into_iter().collect::<BTreeSet<_>>().len());
        require(count == distinct, "keys are handed out once under each identifier")
    }

    fn reads(&self, permissions: &RawCbor, roles: Roles) -> bool {
        self.descriptor.profile.roles(permissions) == Some(roles)
    }

    /// Is refused, and it is the client's fault.
    fn refused(&self, roles: Roles, what: &str, alter: impl FnOnce(&mut JoinRequest)) -> Result<(), Failure> {
        let mut desk = self.desk()?;
        let admitted = self.admit(&mut desk, 0, roles)?;
        let mut request = self.request(&admitted)?;
        alter(&mut request);
        let response = desk.ask(&admitted.caller, build::join_post(GROUP, &request));
        let is_clients = response.status.coap() >> 5 == 4;
        require(
            is_clients,
            &format!("a Join Request is refused as the client's fault, not {:?}: {what}", response.status),
        )
    }

    fn bad_credentials(&self, roles: Roles) -> Result<(), Failure> {
        if !self.rules.shows_credential(roles) {
            return Ok(());
        }
        self.refused(roles, "it has no credential", |request| request.client_cred = None)?;
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for length in [0, 1, 31, 32, 33, 64, 65, 100, 5_000] {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            self.refused(roles, "its credential is random bytes", |request| request.client_cred = Some(bytes))?;
        }
        Ok(())
    }

    fn bad_proofs(&self, roles: Roles) -> Result<(), Failure> {
        if !self.rules.proves_credential(roles) {
            return Ok(());
        }
        self.refused(roles, "it proves nothing", |request| request.client_cred_verify = None)?;
        self.refused(roles, "its proof is empty", |request| request.client_cred_verify = Some(Vec::new()))?;
        self.refused(roles, "its proof was altered", |request| {
            let proof = request.client_cred_verify.iter_mut().flatten();
            proof.for_each(|byte| *byte ^= 1);
        })?;
        self.refused(roles, "its proof is over another N_C", |request| request.cnonce = Some(vec![8; 8]))?;
        let mut desk = self.desk()?;
        let (victim, thief) = (self.admit(&mut desk, 0, roles)?, self.admit(&mut desk, 1, roles)?);
        let response = desk.ask(&thief.caller, build::join_post(GROUP, &self.request(&victim)?));
        require(!response.status.is_success(), "a proof over another's N_S proves nothing")
    }

    /// What a member does with an answer that is not for it, or of somebody else.
    fn bad_answers(&self, roles: Roles) -> Result<(), Failure> {
        let mut desk = self.desk()?;
        let admitted = self.admit(&mut desk, 0, roles)?;
        let (_, response) = self.joins(&mut desk, &admitted)?;
        let decoded = || JoinResponse::decode(&response.payload).map_err(|error| error.to_string());
        if decoded()?.kdc_cred.is_some() {
            let other = admitted.rules.joined(decoded()?, &[9; 8]);
            require(other.is_err(), "a member takes no answer to another N_C")?;
            let mut altered = decoded()?;
            altered.kdc_cred.iter_mut().flat_map(|kdc| &mut kdc.kdc_cred_verify).for_each(|byte| *byte ^= 1);
            require(admitted.rules.joined(altered, &N_C).is_err(), "a member takes no KDC whose proof was altered")?;
        }
        let mut altered = decoded()?;
        altered.material.key = RawCbor::array(&[]);
        require(admitted.rules.joined(altered, &N_C).is_err(), "a member takes no key that is none of its profile")?;
        let granted = ScopeEntry { gname: GROUP.into(), permissions: RawCbor::array(&[]) };
        require(admitted.rules.narrowed(&granted).is_err(), "a member takes no roles that are none of its profile")
    }
}
