//! /ace-group/GROUPNAME/creds: members' credentials, all or filtered (RFC 9594 section 4.4).

use crate::Roles;
use crate::engine::store::view::{Stop, View};
use crate::id::SenderId;
use crate::kdc::resource::content;
use crate::kdc::resource::group;
use crate::kdc::route::Answer;
use crate::kdc::scene::{Authorised, GroupState, Scene};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys;
use crate::schema::records::MemberRecord;
use ace_groupcomm_messages::{CredsResponse, GetCreds, PeerCred, RawCbor};
use std::collections::HashSet;

/// Most elements of a filter.
pub(in crate::kdc) const MAX_FILTER: usize = 1_024;

impl KdcApp {
    pub(in crate::kdc) fn get_creds(
        &self,
        scene: &Scene<'_, '_>,
        authorised: &Authorised<'_>,
        state: &GroupState<'_>,
    ) -> Answer {
        creds(scene, authorised, state, &GetCreds::All)
    }

    pub(in crate::kdc) fn fetch_creds(
        &self,
        scene: &Scene<'_, '_>,
        authorised: &Authorised<'_>,
        state: &GroupState<'_>,
    ) -> Answer {
        let wanted = GetCreds::decode_request(&scene.request.payload);
        let wanted = wanted.map_err(|_| Refusal::BadRequest("get_creds is malformed"))?;
        creds(scene, authorised, state, &wanted)
    }
}

fn creds(scene: &Scene<'_, '_>, authorised: &Authorised<'_>, state: &GroupState<'_>, wanted: &GetCreds) -> Answer {
    let select = selector(authorised, wanted)?;
    let peers = peers(scene.view, authorised, state, |member, id| select(member, id))?;
    // Nobody has one of the identifiers asked for: an empty byte string.
    if peers.is_empty()
        && let GetCreds::Filter { inclusive: true, ids, .. } = wanted
        && !ids.is_empty()
    {
        return Ok(content(vec![0x40]));
    }
    let answer = CredsResponse { num: group::num(state)?, peers };
    Ok(content(answer.encode()))
}

/// The roles that a filter names; a combination selects who has all of them.
fn roles(authorised: &Authorised<'_>, filter: &[RawCbor]) -> Result<Vec<Roles>, Refusal> {
    let roles: Option<Vec<Roles>> = filter.iter().map(|item| authorised.group.roles(item)).collect();
    roles.filter(|roles| roles.len() <= MAX_FILTER).ok_or(Refusal::BadRequest("role_filter is malformed"))
}

/// Whom a filter selects: role matches or identifier named, or, exclusively, role matches and identifier not
/// named. Where one filter is empty the other decides alone.
fn selector<'a>(
    authorised: &Authorised<'_>,
    wanted: &'a GetCreds,
) -> Result<impl Fn(&MemberRecord, &SenderId) -> bool + 'a, Refusal> {
    let (all, inclusive, filter, ids): (bool, bool, Vec<Roles>, HashSet<&[u8]>) = match wanted {
        GetCreds::All => (true, true, Vec::new(), HashSet::new()),
        GetCreds::Filter { inclusive, roles: filter, ids } => {
            if (filter.is_empty() && ids.is_empty()) || ids.len() > MAX_FILTER {
                return Err(Refusal::BadRequest("both filters are empty, or one is too long"));
            }
            let mut filter = roles(authorised, filter)?;
            // As many as there are combinations at most, however often they are named.
            filter.sort_unstable_by_key(|roles| roles.0);
            filter.dedup();
            (false, *inclusive, filter, ids.iter().map(Vec::as_slice).collect())
        }
    };
    Ok(move |member: &MemberRecord, id: &SenderId| {
        let has_role = filter.iter().any(|wanted| Roles(member.roles).includes(*wanted));
        let named = ids.contains(id.as_bytes());
        all || if inclusive { has_role || named } else { (filter.is_empty() || has_role) && !named }
    })
}

/// Members that have a credential, and that `select` takes.
fn peers(
    view: &View<'_>,
    authorised: &Authorised<'_>,
    state: &GroupState<'_>,
    select: impl Fn(&MemberRecord, &SenderId) -> bool,
) -> Result<Vec<PeerCred>, Stop> {
    let members = view.list::<MemberRecord>(&keys::members(state.id), &keys::head(state.id))?;
    let is_selected = |member: &&MemberRecord| member.sender_id.as_ref().is_some_and(|id| select(member, id));
    Ok(members.into_iter().filter(is_selected).filter_map(|member| peer(&authorised.group, member)).collect())
}

/// A member as others see it, where it has a credential.
pub(in crate::kdc) fn peer(group: &Group, member: &MemberRecord) -> Option<PeerCred> {
    Some(PeerCred {
        cred: member.credential.as_ref()?.cred.clone(),
        roles: Some(group.permissions(Roles(member.roles))),
        id: member.sender_id.as_ref()?.as_bytes().to_vec(),
    })
}

/// The credentials that a Join Response carries: of the others, and, where all are asked for, of those that the
/// joiner's roles let it talk with.
pub(in crate::kdc) fn for_joiner(
    view: &View<'_>,
    authorised: &Authorised<'_>,
    state: &GroupState<'_>,
    joiner: Roles,
    wanted: &GetCreds,
) -> Result<Vec<PeerCred>, Stop> {
    let own = view.get::<MemberRecord>(&keys::member(state.id, authorised.holder.id))?;
    let is_own = |id: &SenderId| own.and_then(|own| own.sender_id.as_ref()) == Some(id);
    match wanted {
        GetCreds::All => {
            let talkers = authorised.group.rules.peers_of(joiner);
            peers(view, authorised, state, |member, id| talkers.meets(Roles(member.roles)) && !is_own(id))
        }
        GetCreds::Filter { .. } => {
            let select = selector(authorised, wanted)?;
            peers(view, authorised, state, |member, id| select(member, id) && !is_own(id))
        }
    }
}
