//! Who calls: from an association to a token, a group and a membership. Each step has a type of its own, and the
//! next one needs it.

use crate::access::{Resource, Who};
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Caller, Method, Purpose, Request};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Association, Head, HeldToken, MemberRecord, NameState, Principal};
use crate::time::UnixTime;
use crate::traits::profile::{ProfileRoute, Roles};
use ace_groupcomm_messages::{GroupcommError, RawCbor};
use std::sync::Arc;

/// A request on its way to a handler.
pub(super) struct Scene<'s, 'v> {
    pub(super) view: &'s View<'v>,
    pub(super) caller: &'s Caller,
    pub(super) request: &'s Request,
}

impl Scene<'_, '_> {
    /// Whether nothing is asked for but whether the request may still be answered.
    pub(super) fn asks_permission(&self) -> bool {
        self.request.purpose == Purpose::Permission
    }
}

/// A request of a member.
pub(super) struct MemberScene<'a> {
    pub(super) authorised: &'a Authorised<'a>,
    pub(super) group: &'a GroupState<'a>,
    pub(super) member: &'a MemberRecord,
}

/// Somebody with a token that is good now.
pub(super) struct TokenHolder<'a> {
    pub(super) id: PrincipalId,
    pub(super) association: &'a Association,
    pub(super) principal: &'a Principal,
    /// The token that came with the association: what it says counts, and no other.
    pub(super) held: &'a HeldToken,
}

/// A token holder whose token names a group.
pub(super) struct Authorised<'a> {
    pub(super) holder: &'a TokenHolder<'a>,
    pub(super) group: Arc<Group>,
    /// The group itself, from its creation to its deletion.
    pub(super) id: GroupId,
    /// The roles that the token grants in the group.
    pub(super) granted: Roles,
}

impl Authorised<'_> {
    /// Whether the profile has this method at a resource that RFC 9594 has.
    pub(super) fn adds(&self, name: &str, method: Method) -> bool {
        let is_it = |route: &ProfileRoute| (route.name, route.is_below, route.method) == (name, false, method);
        self.group.rules.routes().iter().any(is_it)
    }
}

/// The group as it stands.
pub(super) struct GroupState<'a> {
    pub(super) id: GroupId,
    pub(super) head: &'a Head,
}

impl KdcApp {
    /// 4.01 with hints: the answer to who has no token (RFC 9200 section 5.3).
    pub(super) fn no_token(&self, unprotected: bool) -> Refusal {
        Refusal::NoToken { hints: Box::new(self.hints.clone()), unprotected }
    }

    /// The token of a caller; it must be good at this moment.
    pub(super) fn token_holder<'a>(&self, view: &View<'a>, caller: &Caller) -> Result<TokenHolder<'a>, Stop> {
        let Caller::Peer(name, _) = caller else { return Err(self.no_token(false).into()) };
        let Some(association) = view.get::<Association>(&keys::association(name))? else {
            return Err(self.no_token(true).into());
        };
        let id = association.principal;
        let Some(principal) = view.get::<Principal>(&keys::principal(id))? else {
            return Err(self.no_token(true).into());
        };
        let Some(held) = principal.of_association(name) else { return Err(self.no_token(true).into()) };
        if held.token.expires <= self.expiry.time(view.now()) {
            self.plausible(view)?;
            return Err(self.no_token(true).into());
        }
        Ok(TokenHolder { id, association, principal, held })
    }

    /// Whether nobody is a member by this token any more, though it has not ended.
    pub(super) fn is_expiring(&self, view: &View<'_>, holder: &TokenHolder<'_>) -> bool {
        holder.held.token.covers_until() <= self.expiry.time(view.now())
    }

    /// What the token grants in a group. Who asks about a group that its token does not name learns nothing
    /// about it, not even whether it exists.
    pub(super) fn authorised<'a>(
        &self,
        view: &View<'_>,
        holder: &'a TokenHolder<'a>,
        gname: &str,
    ) -> Result<Authorised<'a>, Stop> {
        let token = &holder.held.token;
        let entry = token.scope.iter().find(|(name, _)| name == gname);
        let (_, permissions) = entry.ok_or(Refusal::Forbidden("the token does not name the group"))?;
        let (name, group) = self.named(view, gname)?.ok_or(Refusal::NotFound)?;
        let NameState::Live(tokens_since) = name.state else {
            return Err(Refusal::Groupcomm(GroupcommError::GroupDeleted).into());
        };
        if !self.means_this_group(token.issued, tokens_since) {
            return Err(Refusal::Forbidden("the token is from before this group").into());
        }
        let group = group.ok_or(Refusal::NotFound)?;
        if !self.may_speak(view, &holder.principal.issuer, &group)? {
            return Err(Refusal::Forbidden("the token's issuer may not speak for the group").into());
        }
        let permissions = RawCbor::new(permissions).map_err(|_| Refusal::Internal("a scope cannot be read"))?;
        let granted = group.roles(&permissions).ok_or(Refusal::Forbidden("the token grants no role in the group"))?;
        Ok(Authorised { holder, group, id: name.id, granted })
    }

    /// Whether a token that was issued then means the group that has a name since a former one was deleted.
    pub(super) fn means_this_group(&self, issued: Option<UnixTime>, tokens_since: UnixTime) -> bool {
        tokens_since == UnixTime::EPOCH || issued.is_some_and(|at| at >= tokens_since.plus(self.validator.leeway()))
    }

    /// The group as it stands.
    pub(super) fn group_state<'a>(&self, view: &View<'a>, authorised: &Authorised<'_>) -> Result<GroupState<'a>, Stop> {
        let head = view.get::<Head>(&keys::head(authorised.id))?.ok_or(Refusal::NotFound)?;
        if self.incarnation.is_some_and(|incarnation| incarnation != head.incarnation) {
            return Err(Refusal::Unavailable("the group gets new keys after a restore", 2).into());
        }
        Ok(GroupState { id: authorised.id, head })
    }

    /// The caller's membership, where the table asks for one.
    pub(super) fn member_for<'a>(
        &self,
        who: Who,
        resource: Resource<'_>,
        view: &View<'a>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
    ) -> Result<Option<&'a MemberRecord>, Stop> {
        let member = view.get::<MemberRecord>(&keys::member(group.id, authorised.holder.id))?;
        // Whose membership has ended is put out in a moment, and may have another token meanwhile.
        let member = member.filter(|_| authorised.holder.principal.is_member(group.id));
        // A membership may be another token's of the same client. Under this one it counts as far as this one covers it.
        let is_covered = member.is_none_or(|member| authorised.granted.includes(Roles(member.roles)));
        let Some(member) = member.filter(|_| is_covered) else {
            let rules = &authorised.group.rules;
            if who == Who::CredsReader {
                if rules.reads_creds_as_non_member(authorised.granted) {
                    return Ok(None);
                }
                return Err(Refusal::Forbidden("not a member, and not one to read credentials").into());
            }
            if !is_covered {
                return Err(Refusal::Forbidden("the token does not grant the roles of the membership").into());
            }
            return Err(Refusal::Groupcomm(GroupcommError::NotAMember).into());
        };
        if let (Who::Owner, Resource::Node(node) | Resource::NodeCred(node)) = (who, resource)
            && node != member.node.as_str()
        {
            return Err(Refusal::Forbidden("another member's resource").into());
        }
        Ok(Some(member))
    }
}
