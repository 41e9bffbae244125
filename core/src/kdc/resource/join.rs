//! Joining: POST to /ace-group/GROUPNAME (RFC 9594 section 4.3.1, Group OSCORE profile sections 6.2 and 6.3).

mod admission;
pub(in crate::kdc::resource) mod credential;

use crate::Roles;
use crate::audit::{Entry, hex};
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::id::NodeName;
use crate::kdc::delivery::control_uri;
use crate::kdc::keying::heads::SeenHead;
use crate::kdc::membership::evict::give_up;
use crate::kdc::membership::sender_id as ids;
use crate::kdc::membership::sender_id::Allocated;
use crate::kdc::resource::creds;
use crate::kdc::resource::own::{calling_member, shown};
use crate::kdc::route::Answer;
use crate::kdc::scene::{Authorised, GroupState, Scene};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Response, Status};
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{Ban, BelongsTo, GroupSecret, Head, Leaving, MemberRecord};
use crate::traits::profile::{KeyAudience, OwnRecords, ProfileJoin, ProfileJoined};
use crate::traits::rekeying::{SchemeAdmission, SchemeMember};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::{NODES, ROOT};
use ace_groupcomm_messages::{
    GetCreds, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCred, Label, RawCbor, ScopeEntry, pop,
};
use admission::Admission;
use credential::{AcceptedCredential, Proof};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

/// Longest N_C: the KDC signs it, and keeps it.
pub(in crate::kdc) const MAX_CNONCE: usize = 64;
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
    /// Parameters that the profile may know.
    own: Vec<(Label, RawCbor)>,
}

impl KdcApp {
    pub(in crate::kdc) fn join(&self, scene: &Scene<'_, '_>, authorised: &Authorised<'_>) -> Answer {
        let (view, request) = (scene.view, scene.request);
        if self.is_expiring(view, authorised.holder) {
            self.plausible(view)?;
            return Err(self.no_token(false).into());
        }
        let join = JoinRequest::decode(&request.payload)
            .map_err(|_| self.with_hints(authorised, "the Join Request is malformed"))?;
        let validated = self.validated(authorised, &join)?;
        let group = self.group_state(view, authorised)?;
        if !group.head.active {
            return Err(Refusal::Groupcomm(GroupcommError::GroupInactive).into());
        }
        let (key, ban) = (keys::member(group.id, authorised.holder.id), keys::ban(group.id, authorised.holder.id));
        if view.assume_absent::<Ban>(&ban)?.is_some_and(|ban| ban.until > self.expiry.time(view.now())) {
            return Err(Refusal::Forbidden("the operator has put the client out of the group").into());
        }
        if view.assume_absent::<Leaving>(&keys::leaving(group.id, authorised.holder.id))?.is_some() {
            let refusal = Refusal::Unavailable("the client's former membership is being ended", 1);
            let leaving = Event::Leaving { gname: authorised.group.gname.clone(), group: group.id };
            return Ok(Outcome::refused(refusal, Changes::new()).with_event(leaving));
        }
        let (former, counted) =
            (view.get::<MemberRecord>(&key), self.check_provoked(view, group.id, authorised.holder.id));
        let former = former?;
        counted?;
        match self.prove(view, authorised, &group, &join, &validated, former)? {
            Proof::Accepted(credential) => self.admit(scene, authorised, &group, validated, credential, former),
            Proof::NeedsChallenge => Ok(self.challenge(view, authorised, authorised.group.rules.credential_info())),
            Proof::Failed => {
                let refusal = Refusal::Groupcomm(GroupcommError::InvalidProof);
                let failed = Event::ProofFailed(authorised.holder.id);
                Ok(Outcome::refused(refusal, Changes::new()).with_event(failed))
            }
        }
    }

    /// 4.00 with what a client has to know to do better.
    fn with_hints(&self, authorised: &Authorised<'_>, why: &'static str) -> Refusal {
        let info = authorised.group.rules.credential_info();
        Refusal::Join(why, Box::new(JoinRefusal { info, kdcchallenge: None }))
    }

    /// Checks what the request says by itself, and against the token.
    fn validated(&self, authorised: &Authorised<'_>, join: &JoinRequest) -> Result<ValidatedJoin, Refusal> {
        let rules = &authorised.group.rules;
        let gname = &authorised.group.gname;
        let bad = |why| self.with_hints(authorised, why);
        let (roles, scope) = match &join.scope {
            Some(scope) if scope.len() > MAX_SCOPE => return Err(bad("the scope is too long")),
            Some(scope) => {
                let entry = ScopeEntry::decode(scope).map_err(|_| bad("the scope is malformed"))?;
                if entry.gname != *gname {
                    return Err(bad("the scope names another group than the path"));
                }
                (
                    authorised.group.roles(&entry.permissions).ok_or_else(|| bad("the roles are not known"))?,
                    scope.clone(),
                )
            }
            None if !rules.has_default_scope() => return Err(bad("the scope is missing")),
            None => {
                // What the token grants, where that can be taken at once.
                let roles = authorised.granted;
                let entry = ScopeEntry { gname: gname.clone(), permissions: authorised.group.permissions(roles) };
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
            && (roles.len() > creds::MAX_FILTER || roles.iter().any(|wanted| authorised.group.roles(wanted).is_none()))
        {
            return Err(bad("the role filter is malformed"));
        }
        if join.get_creds.as_ref().is_some_and(|get_creds| !rules.may_ask_for(roles, get_creds)) {
            return Err(bad("the credentials of others cannot be asked for so"));
        }
        // Somebody else's place is none: its member asks now and then.
        let control_uri = join.control_uri.clone().filter(|uri| uri.len() <= MAX_URI);
        Ok(ValidatedJoin {
            roles,
            scope,
            cnonce,
            get_creds: join.get_creds.clone(),
            control_uri,
            own: join.extra.clone(),
        })
    }

    /// Adds the member, or renews it, and answers with all that it needs.
    fn admit(
        &self,
        scene: &Scene<'_, '_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        validated: ValidatedJoin,
        accepted: AcceptedCredential,
        former: Option<&MemberRecord>,
    ) -> Result<Outcome<Event>, Stop> {
        let (view, id) = (scene.view, authorised.holder.id);
        let rules = &authorised.group.rules;
        let Admission { mut head, secret, mut changes, mut events, barred, waits_until } =
            self.admission(view, authorised, group, former)?;
        let sender_id = if rules.gets_identifier(validated.roles) {
            match ids::allocate(view, group.id, &mut head, &rules.identifier_len(), &barred)? {
                Allocated::Id(id) => Some(id),
                Allocated::NotYet => return Ok(look_further(group, &head)),
                Allocated::None => return Ok(self.used_up(view, authorised, group)),
            }
        } else {
            None
        };
        if let Some(old) = former.and_then(|former| former.sender_id.as_ref()) {
            give_up(group.id, &mut head, old, &mut changes);
        }
        if let Some(new) = &sender_id {
            ids::take(group.id, &mut head, id, new, &mut changes);
        }
        if ids::note_scarce(&mut head, &rules.identifier_len(), view.arrived().unix) {
            events.push(due(authorised));
        }
        if let Some(old) = former.and_then(MemberRecord::claimed) {
            changes.delete(keys::credential(group.id, old));
        }
        if former.is_some() {
            events.push(self.note_provoked(view, group.id, id, &mut changes)?);
        } else {
            head.members = head.members.saturating_add(1);
            let mut principal = authorised.holder.principal.clone();
            // A group of this name that was deleted is none of its any more.
            principal.memberships.retain(|(gname, _)| *gname != authorised.group.gname);
            principal.memberships.push((authorised.group.gname.clone(), group.id));
            changes.put(keys::principal(id), principal);
        }
        let member = MemberRecord {
            node: former.map_or_else(|| node_name(group, id), |former| former.node.clone()),
            sender_id,
            roles: validated.roles.0,
            credential: accepted.credential,
            is_proven: accepted.is_proven,
            scope: ByteBuf::from(validated.scope),
            clientchallenge: ByteBuf::from(validated.cnonce),
            birth_gid: head.gid.clone(),
            control_uri: validated.control_uri,
        };
        if let Some(thumbprint) = member.claimed() {
            changes.put(keys::credential(group.id, thumbprint), BelongsTo(id));
        }
        // Who is a member has a key, and keeps it where this answer is lost.
        let knows = if former.is_some() { 0 } else { head.num };
        if control_uri::put(scene, authorised, group, (&member, knows), &mut changes) {
            let seen = SeenHead { group: group.id, num: head.num, active: head.active };
            events.push(Event::Watched { gname: authorised.group.gname.clone(), seen });
        }
        let state = GroupState { id: group.id, head: &head };
        let own = own_part(scene, authorised, &state, &validated.own, &member, former)?;
        let of_scheme = scheme_part(scene, authorised, &state, &member, former)?;
        let mut response = self.join_response(
            view,
            authorised,
            (&state, &secret),
            &member,
            validated.get_creds.as_ref(),
            own.parameters,
        )?;
        response.material.mgt_key_material = of_scheme.material;
        if let Some(until) = waits_until {
            view.wait_until(until)?;
        }
        changes.put_own(group.id, own.changes);
        changes.put_own(group.id, of_scheme.changes);
        changes.put(keys::head(group.id), head.clone());
        let admitted = self.admitted(authorised, &head, member, former, response, changes);
        Ok(events.into_iter().fold(admitted, Outcome::with_event))
    }

    /// No Sender ID is free. Where a new Gid frees some, the group is rekeyed.
    pub(in crate::kdc) fn used_up(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
    ) -> Outcome<Event> {
        let refusal = Refusal::Groupcomm(GroupcommError::NoIndividualKeyingMaterial);
        let mut head = group.head.clone();
        let mut changes = Changes::new();
        if !ids::note_scarce(&mut head, &authorised.group.rules.identifier_len(), view.arrived().unix) {
            return Outcome::refused(refusal, changes);
        }
        if head != *group.head {
            changes.put(keys::head(group.id), head);
        }
        Outcome::refused(refusal, changes).with_event(due(authorised))
    }

    /// The outcome of a join that all have agreed to.
    fn admitted(
        &self,
        authorised: &Authorised<'_>,
        head: &Head,
        member: MemberRecord,
        former: Option<&MemberRecord>,
        response: JoinResponse,
        mut changes: Changes,
    ) -> Outcome<Event> {
        let gname = &authorised.group.gname;
        let word = if former.is_some() { "joined again" } else { "joined" };
        let entry = Entry::of_member(word, gname, authorised.holder.principal, &member);
        let entry = Event::Audit(entry.with_version(head.num, &head.gid));
        let status = if former.is_some() { Status::Changed } else { Status::Created };
        let mut answer = Response::new(status).with_payload(ACE_GROUPCOMM_CBOR, response.encode());
        answer.location_path = [ROOT, gname, NODES, member.node.as_str()].map(Into::into).into();
        changes.put(keys::member(authorised.id, authorised.holder.id), member);
        // Nobody observes a node that has just come to be.
        let own = former.map(|_| Event::Changed(answer.location_path.clone()));
        let outcome = Outcome::changed(answer, changes).with_event(entry);
        own.into_iter().fold(outcome, Outcome::with_event)
    }

    fn join_response(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        (group, secret): (&GroupState<'_>, &GroupSecret),
        member: &MemberRecord,
        get_creds: Option<&GetCreds>,
        extra: Vec<(Label, RawCbor)>,
    ) -> Result<JoinResponse, Stop> {
        let rules = &authorised.group.rules;
        let roles = Roles(member.roles);
        let peers = match get_creds {
            Some(get_creds) => Some(creds::for_joiner(view, authorised, group, roles, get_creds)?),
            None => None,
        };
        let audience = KeyAudience::Node { roles, sender_id: member.sender_id.as_ref() };
        let material = self.distribution_of(view, &authorised.group, group.head, secret, audience)?;
        let kdc_nonce = view.random_bytes::<KDC_NONCE_LEN>("N_KDC").to_vec();
        let input = pop::kdc_input(&member.clientchallenge, &kdc_nonce);
        let proof = rules.kdc_proves(view, member.credential.as_ref(), input)?;
        let policies = rules.policies();
        Ok(JoinResponse {
            material,
            peers,
            group_policies: (!policies.is_empty()).then_some(policies),
            kdc_cred: proof.map(|proof| KdcCred { kdc_cred: proof.cred, kdc_nonce, kdc_cred_verify: proof.evidence }),
            control_group_uri: None,
            extra,
        })
    }
}

/// The group is to be rekeyed after its delay.
pub(in crate::kdc) fn due(authorised: &Authorised<'_>) -> Event {
    let group = &authorised.group;
    Event::RekeyDue { gname: group.gname.clone(), delay: group.policy.delay, why: None }
}

/// No free Sender ID was among those that were looked at: the next request looks further.
pub(in crate::kdc) fn look_further(group: &GroupState<'_>, head: &Head) -> Outcome<Event> {
    let mut changes = Changes::new();
    changes.put(keys::head(group.id), Head { cursor: head.cursor, ..group.head.clone() });
    Outcome::refused(Refusal::Unavailable("a free Sender ID is looked for", 1), changes)
}

/// What the profile says to a join, and stores.
fn own_part(
    scene: &Scene<'_, '_>,
    authorised: &Authorised<'_>,
    group: &GroupState<'_>,
    parameters: &[(Label, RawCbor)],
    member: &MemberRecord,
    former: Option<&MemberRecord>,
) -> Result<ProfileJoined, Stop> {
    authorised.group.rules.joins(&ProfileJoin {
        view: scene.view,
        roles: Roles(member.roles),
        parameters,
        credential: member.credential.as_ref(),
        node: &member.node,
        sender_id: member.sender_id.as_ref(),
        former: former.map(calling_member),
        group: shown(group.head),
        records: OwnRecords::new(scene.view, group.id),
    })
}

/// What the rekeying scheme gives a member, and stores.
fn scheme_part(
    scene: &Scene<'_, '_>,
    authorised: &Authorised<'_>,
    group: &GroupState<'_>,
    member: &MemberRecord,
    former: Option<&MemberRecord>,
) -> Result<SchemeAdmission, Stop> {
    authorised.group.rules.rekeying_scheme().admit(&SchemeMember {
        view: scene.view,
        member: calling_member(member),
        former: former.map(calling_member),
        group: shown(group.head),
        records: OwnRecords::new(scene.view, group.id),
    })
}

/// NODENAME: the same whenever the same client joins the same group.
fn node_name(group: &GroupState<'_>, id: PrincipalId) -> NodeName {
    let hash = Sha256::new().chain_update(group.id.as_bytes()).chain_update(id.as_bytes()).finalize();
    NodeName::new(hex(hash.get(..8).unwrap_or_default()))
}
