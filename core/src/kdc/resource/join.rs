//! Joining: POST to /ace-group/GROUPNAME (RFC 9594 section 4.3.1, Group OSCORE profile sections 6.2 and 6.3).

use crate::Roles;
use crate::audit::{Entry, hex};
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::NodeName;
use crate::id::SenderId;
use crate::kdc::membership::evict::give_up;
use crate::kdc::membership::sender_id as ids;
use crate::kdc::membership::sender_id::Allocated;
use crate::kdc::resource::creds;
use crate::kdc::resource::observe::creds_changed;
use crate::kdc::route::Answer;
use crate::kdc::scene::{Authorised, GroupState, Scene};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Response, Status};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Ban, BelongsTo, Challenge, ChallengeOrigin, MemberRecord, SenderIdRecord};
use crate::time::UnixTime;
use crate::traits::profile::{EligibleCredential, KeyAudience};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::{NODES, ROOT};
use ace_groupcomm_messages::{
    GetCreds, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCred, RawCbor, ScopeEntry, pop,
};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Longest N_C: the KDC signs it, and keeps it.
const MAX_CNONCE: usize = 64;
/// In which time joins of one member are counted, in seconds.
const HOUR: Duration = Duration::from_secs(3_600);
/// Longest scope: it is kept, for later proofs.
const MAX_SCOPE: usize = 512;
/// Longest credential that is kept for a member.
const MAX_CRED: usize = 4_096;
/// Longest control URI that is kept for a member.
const MAX_URI: usize = 512;
/// Length of N_KDC; 8 bytes at least are recommended (Group OSCORE profile section 6.3).
pub(in crate::kdc) const KDC_NONCE_LEN: usize = 8;

/// What a Join Request asks for, once it is known to be well-formed and within the token.
struct ValidatedJoin {
    roles: Roles,
    scope: Vec<u8>,
    cnonce: Vec<u8>,
    get_creds: Option<GetCreds>,
    control_uri: Option<String>,
    /// How often the member has joined again since when.
    rejoins: (u32, UnixTime),
}

/// A credential whose private key the client has shown to have, now or when it joined before; none for who only
/// monitors.
struct ProvenCredential(Option<EligibleCredential>);

/// What has to be settled about the credential.
enum Proof {
    Proven(ProvenCredential),
    /// There is no N_S to prove it over: a new one is stored and sent.
    NeedsChallenge,
    /// It was verified, and is none.
    Failed,
}

impl KdcApp {
    pub(in crate::kdc) fn join(&self, scene: &Scene<'_, '_>, authorised: &Authorised<'_>) -> Answer {
        let (view, request) = (scene.view, scene.request);
        if !authorised.group.rules.can_join(authorised.granted) {
            return Err(Refusal::Forbidden("the token grants no role that joins").into());
        }
        let join = JoinRequest::decode(&request.payload)
            .map_err(|_| self.with_hints(authorised, "the Join Request is malformed", None))?;
        let validated = self.validated(authorised, &join)?;
        let group = self.group_state(view, authorised)?;
        if !group.head.active {
            return Err(Refusal::Groupcomm(GroupcommError::GroupInactive).into());
        }
        let (key, ban) = (keys::member(group.id, authorised.holder.id), keys::ban(group.id, authorised.holder.id));
        if view.assume_absent::<Ban>(&ban)?.is_some_and(|ban| ban.until > self.expiry.time(view.now())) {
            return Err(Refusal::Forbidden("the operator has put the client out of the group").into());
        }
        let former = view.get::<MemberRecord>(&key)?;
        let rejoins = self.count_rejoin(view, former)?;
        match self.prove(view, authorised, &group, &join, &validated, former)? {
            Proof::Proven(credential) => {
                self.admit(view, authorised, &group, ValidatedJoin { rejoins, ..validated }, credential, former)
            }
            Proof::NeedsChallenge => Ok(self.challenge(view, authorised)),
            Proof::Failed => {
                let refusal = Refusal::Groupcomm(GroupcommError::InvalidProof);
                let failed = Event::ProofFailed(authorised.holder.id);
                Ok(Outcome::refused(refusal, Changes::new()).with_event(failed))
            }
        }
    }

    /// How often a member has joined again in this hour, with this time. Each time leaves a Sender ID behind that
    /// cannot be given again under this Gid, so that there is a bound.
    fn count_rejoin(&self, view: &View<'_>, former: Option<&MemberRecord>) -> Result<(u32, UnixTime), Refusal> {
        let now = view.now().unix;
        let Some(former) = former else { return Ok((0, now)) };
        let (count, since) = former.rejoins;
        let end = since.plus(HOUR);
        if now >= end || now < since {
            return Ok((1, now));
        }
        if count >= self.rejoins_per_hour {
            let wait = u32::try_from(now.until(end).as_secs()).unwrap_or(u32::MAX);
            return Err(Refusal::TooMany("the member joins again and again", wait));
        }
        Ok((count.saturating_add(1), since))
    }

    /// 4.00 with what a client has to know to do better.
    fn with_hints(&self, authorised: &Authorised<'_>, why: &'static str, kdcchallenge: Option<Vec<u8>>) -> Refusal {
        Refusal::Join(why, Box::new(JoinRefusal { info: authorised.group.rules.credential_info(), kdcchallenge }))
    }

    /// Checks what the request says by itself, and against the token.
    fn validated(&self, authorised: &Authorised<'_>, join: &JoinRequest) -> Result<ValidatedJoin, Refusal> {
        let rules = &authorised.group.rules;
        let gname = &authorised.group.gname;
        let bad = |why| self.with_hints(authorised, why, None);
        let (roles, scope) = match &join.scope {
            Some(scope) if scope.len() > MAX_SCOPE => return Err(bad("the scope is too long")),
            Some(scope) => {
                let entry = ScopeEntry::decode(scope).map_err(|_| bad("the scope is malformed"))?;
                if entry.gname != *gname {
                    return Err(bad("the scope names another group than the path"));
                }
                (rules.roles(&entry.permissions).ok_or_else(|| bad("the roles are not known"))?, scope.clone())
            }
            None if !rules.has_default_scope() => return Err(bad("the scope is missing")),
            None => {
                // What the token grants, where that can be taken at once.
                let roles = authorised.granted;
                let entry = ScopeEntry { gname: gname.clone(), permissions: rules.permissions(roles) };
                (roles, entry.encode())
            }
        };
        if !rules.may_join_with(roles) {
            return Err(bad("nobody joins with these roles"));
        }
        if !authorised.granted.includes(roles) {
            return Err(Refusal::Forbidden("the token grants fewer roles"));
        }
        let cnonce = join.cnonce.clone().ok_or_else(|| bad("cnonce is missing"))?;
        if cnonce.is_empty() || cnonce.len() > MAX_CNONCE {
            return Err(bad("cnonce is too short or too long"));
        }
        if let Some(GetCreds::Filter { inclusive, roles, ids }) = &join.get_creds
            && (!inclusive || roles.is_empty() || !ids.is_empty())
        {
            return Err(bad("who joins can filter by role alone"));
        }
        if let Some(GetCreds::Filter { roles, .. }) = &join.get_creds
            && (roles.len() > creds::MAX_FILTER || roles.iter().any(|wanted| rules.roles(wanted).is_none()))
        {
            return Err(bad("the role filter is malformed"));
        }
        let control_uri = join.control_uri.clone().filter(|uri| uri.len() <= MAX_URI);
        Ok(ValidatedJoin {
            roles,
            scope,
            cnonce,
            get_creds: join.get_creds.clone(),
            control_uri,
            rejoins: (0, UnixTime::EPOCH),
        })
    }

    /// Settles the credential: which request needs what is table 8 of the Group OSCORE profile's section 6.1.
    fn prove(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        join: &JoinRequest,
        validated: &ValidatedJoin,
        former: Option<&MemberRecord>,
    ) -> Result<Proof, Stop> {
        let rules = &authorised.group.rules;
        if !rules.has_credential(validated.roles) {
            return Ok(Proof::Proven(ProvenCredential(None)));
        }
        let bad = |why| Stop::from(self.with_hints(authorised, why, None));
        let stored = former.and_then(|member| {
            let (cred, key) = (member.cred.as_ref()?.to_vec(), member.key.as_ref()?.to_vec());
            Some(EligibleCredential { cred, key })
        });
        let cred = join.client_cred.as_ref().ok_or_else(|| bad("client_cred is missing"))?;
        let Some(evidence) = &join.client_cred_verify else {
            return match stored {
                Some(stored) if cred.is_empty() || *cred == stored.cred => {
                    Ok(Proof::Proven(ProvenCredential(Some(stored))))
                }
                _ => Err(bad("the credential has to be proven")),
            };
        };
        // An empty proof says that possession of this credential was proven before.
        if evidence.is_empty() {
            return match stored.filter(|stored| stored.cred == *cred) {
                Some(stored) => Ok(Proof::Proven(ProvenCredential(Some(stored)))),
                None => Err(Refusal::Groupcomm(GroupcommError::InvalidProof).into()),
            };
        }
        if cred.is_empty() {
            return Err(bad("client_cred_verify is there without client_cred"));
        }
        let Some(challenge) = &authorised.holder.principal.kdcchallenge else { return Ok(Proof::NeedsChallenge) };
        let eligible = rules.eligible(cred).filter(|_| cred.len() <= MAX_CRED);
        let Some(eligible) = eligible else {
            return Err(Refusal::Groupcomm(GroupcommError::IncompatibleCredential).into());
        };
        self.failed_proofs.check(view.now(), authorised.holder.id)?;
        let input = pop::client_input(&validated.scope, &challenge.value, &validated.cnonce);
        if !rules.client_proves(view, &eligible, input, evidence)? {
            return Ok(Proof::Failed);
        }
        self.unclaimed(view, authorised, group, &eligible)?;
        Ok(Proof::Proven(ProvenCredential(Some(eligible))))
    }

    /// One credential belongs to one principal in a group: the proof names no KDC, so that another one could
    /// have had the client prove it there.
    fn unclaimed(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        credential: &EligibleCredential,
    ) -> Result<(), Stop> {
        let owner = view.get::<BelongsTo<PrincipalId>>(&keys::credential(group.id, &credential.key))?;
        match owner {
            Some(BelongsTo(owner)) if *owner != authorised.holder.id => {
                Err(Refusal::Groupcomm(GroupcommError::IncompatibleCredential).into())
            }
            _ => Ok(()),
        }
    }

    /// 4.00 with a new N_S, which is stored (RFC 9594 section 4.3.1).
    fn challenge(&self, view: &View<'_>, authorised: &Authorised<'_>) -> Outcome<Event> {
        let value = view.random_bytes::<8>("N_S").to_vec();
        let mut principal = authorised.holder.principal.clone();
        principal.kdcchallenge =
            Some(Challenge { value: ByteBuf::from(value.clone()), origin: ChallengeOrigin::JoinRefusal });
        let mut changes = Changes::new();
        changes.put(keys::principal(authorised.holder.id), principal);
        Outcome::refused(self.with_hints(authorised, "there is no challenge any more", Some(value)), changes)
    }

    /// Adds the member, or renews it, and answers with all that it needs.
    fn admit(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        validated: ValidatedJoin,
        credential: ProvenCredential,
        former: Option<&MemberRecord>,
    ) -> Result<Outcome<Event>, Stop> {
        let id = authorised.holder.id;
        let mut head = group.head.clone();
        let mut changes = Changes::new();
        let sender_id = if authorised.group.rules.has_credential(validated.roles) {
            match ids::allocate(view, group.id, &mut head, authorised.group.rules.max_identifier_len())? {
                Allocated::Id(id) => Some(id),
                Allocated::NotYet => {
                    changes.put(keys::head(group.id), head);
                    return Ok(Outcome::refused(Refusal::Unavailable("a free Sender ID is looked for", 1), changes));
                }
                Allocated::None => {
                    return Err(Refusal::Groupcomm(GroupcommError::NoIndividualKeyingMaterial).into());
                }
            }
        } else {
            None
        };
        if let Some(old) = former.and_then(|former| former.sender_id.as_ref()) {
            give_up(group.id, &head, old, &mut changes);
        }
        if let Some(new) = &sender_id {
            changes.put(keys::sender_id(group.id, new), SenderIdRecord { holder: Some(id), epoch: head.epoch });
        }
        let (cred, key) = match credential.0 {
            Some(EligibleCredential { cred, key }) => (Some(cred), Some(key)),
            None => (None, None),
        };
        if let Some(old) = former.and_then(|former| former.key.as_ref()) {
            changes.delete(keys::credential(group.id, old));
        }
        if let Some(key) = &key {
            changes.put(keys::credential(group.id, key), BelongsTo(id));
        }
        let response = self.join_response(view, authorised, group, &validated, sender_id.as_ref())?;
        let node = former.map_or_else(|| node_name(group, id), |former| former.node.clone());
        if former.is_none() {
            head.members = head.members.saturating_add(1);
            let mut principal = authorised.holder.principal.clone();
            // A group of this name that was deleted is none of its any more.
            principal.memberships.retain(|(gname, _)| *gname != authorised.group.gname);
            principal.memberships.push((authorised.group.gname.clone(), group.id));
            changes.put(keys::principal(id), principal);
        }
        let member = MemberRecord {
            node: node.clone(),
            sender_id,
            roles: validated.roles.0,
            cred: cred.map(ByteBuf::from),
            key: key.map(ByteBuf::from),
            scope: ByteBuf::from(validated.scope),
            clientchallenge: ByteBuf::from(validated.cnonce),
            birth_gid: head.gid.clone(),
            control_uri: validated.control_uri,
            rejoins: validated.rejoins,
        };
        let word = if former.is_some() { "joined again" } else { "joined" };
        let entry = Entry::of_member(word, &authorised.group.gname, authorised.holder.principal, &member);
        let entry = Event::Audit(entry.with_version(head.num, &head.gid));
        changes.put(keys::member(group.id, id), member);
        changes.put(keys::head(group.id), head);
        let status = if former.is_some() { Status::Changed } else { Status::Created };
        let mut answer = Response::new(status).with_payload(ACE_GROUPCOMM_CBOR, response.encode());
        answer.location_path = [ROOT, &authorised.group.gname, NODES, node.as_str()].map(Into::into).into();
        // Nobody observes a node that has just come to be.
        let own = former.map(|_| Event::Changed(answer.location_path.clone()));
        let outcome = Outcome::changed(answer, changes).with_event(entry);
        let outcome = outcome.with_event(creds_changed(&authorised.group.gname));
        Ok(own.into_iter().fold(outcome, Outcome::with_event))
    }

    fn join_response(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        validated: &ValidatedJoin,
        sender_id: Option<&SenderId>,
    ) -> Result<JoinResponse, Stop> {
        let rules = &authorised.group.rules;
        let peers = match &validated.get_creds {
            Some(get_creds) => Some(creds::for_joiner(view, authorised, group, validated.roles, get_creds)?),
            None => None,
        };
        let material = self.distribution(view, authorised, group, KeyAudience::Node(sender_id))?;
        let kdc_nonce = view.random_bytes::<KDC_NONCE_LEN>("N_KDC").to_vec();
        let proof = rules.kdc_proves(view, pop::kdc_input(&validated.cnonce, &kdc_nonce))?;
        let policies = rules.policies();
        Ok(JoinResponse {
            material,
            peers,
            group_policies: (!policies.is_empty()).then_some(policies),
            kdc_cred: proof.map(|proof| KdcCred { kdc_cred: proof.cred, kdc_nonce, kdc_cred_verify: proof.evidence }),
            control_group_uri: None,
            extra: Vec::<(ace_groupcomm_messages::Label, RawCbor)>::new(),
        })
    }
}

/// NODENAME: the same whenever the same client joins the same group.
fn node_name(group: &GroupState<'_>, id: PrincipalId) -> NodeName {
    let hash = Sha256::new().chain_update(group.id.as_bytes()).chain_update(id.as_bytes()).finalize();
    NodeName::new(hex(hash.get(..8).unwrap_or_default()))
}
