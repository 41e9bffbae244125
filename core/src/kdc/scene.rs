//! Who calls: from an association to a token, a group and a membership. Each step has a type of its own, and the
//! next one needs it.

use crate::access::{Resource, Who};
use crate::engine::store::view::{Stop, View};
use crate::kdc::{Group, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Caller, Purpose, Request};
use crate::schema::keys::{self, GroupId, PrincipalId};
use crate::schema::records::{Association, BelongsTo, Head, Member, Principal};
use crate::traits::profile::Roles;
use ace_groupcomm_messages::{GroupcommError, RawCbor};

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
    pub(super) group: &'a Standing<'a>,
    pub(super) member: &'a Member,
}

/// Somebody with a token that is good now.
pub(super) struct TokenHolder<'a> {
    pub(super) id: PrincipalId,
    pub(super) association: &'a Association,
    pub(super) principal: &'a Principal,
}

/// A token holder whose token names a group.
pub(super) struct Authorised<'a> {
    pub(super) holder: &'a TokenHolder<'a>,
    pub(super) group: &'a Group,
    /// The roles that the token grants in the group.
    pub(super) granted: Roles,
}

/// The group as it stands.
pub(super) struct Standing<'a> {
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
        let Caller::Peer(name) = caller else { return Err(self.no_token(false).into()) };
        let Some(association) = view.get::<Association>(&keys::association(name))? else {
            return Err(self.no_token(true).into());
        };
        let id = association.principal;
        let Some(principal) = view.get::<Principal>(&keys::principal(id))? else {
            return Err(self.no_token(true).into());
        };
        if principal.association.as_slice() != &**name {
            return Err(self.no_token(true).into());
        }
        if principal.token.expires <= self.expiry.time(view.now()) {
            self.plausible(view)?;
            return Err(self.no_token(true).into());
        }
        Ok(TokenHolder { id, association, principal })
    }

    /// What the token grants in a group. Who asks about a group that its token does not name learns nothing
    /// about it, not even whether it exists.
    pub(super) fn authorised<'a>(
        &'a self,
        holder: &'a TokenHolder<'a>,
        gname: &str,
    ) -> Result<Authorised<'a>, Refusal> {
        let entry = holder.principal.token.scope.iter().find(|(name, _)| name == gname);
        let (_, permissions) = entry.ok_or(Refusal::Forbidden("the token does not name the group"))?;
        let group = self.groups.get(gname).ok_or(Refusal::NotFound)?;
        let permissions = RawCbor::new(permissions).map_err(|_| Refusal::Internal("a scope cannot be read"))?;
        let granted =
            group.rules.roles(&permissions).ok_or(Refusal::Forbidden("the token grants no role in the group"))?;
        Ok(Authorised { holder, group, granted })
    }

    /// The group as it stands.
    pub(super) fn group_state<'a>(&self, view: &View<'a>, authorised: &Authorised<'_>) -> Result<Standing<'a>, Stop> {
        let Some(BelongsTo(id)) = view.get::<BelongsTo<GroupId>>(&keys::name(&authorised.group.gname))? else {
            return Err(Refusal::NotFound.into());
        };
        let head = view.get::<Head>(&keys::head(*id))?.ok_or(Refusal::NotFound)?;
        Ok(Standing { id: *id, head })
    }

    /// The caller's membership, where the table asks for one.
    pub(super) fn member_for<'a>(
        &self,
        who: Who,
        resource: Resource<'_>,
        view: &View<'a>,
        authorised: &Authorised<'_>,
        group: &Standing<'_>,
    ) -> Result<Option<&'a Member>, Stop> {
        let member = view.get::<Member>(&keys::member(group.id, authorised.holder.id))?;
        let Some(member) = member else {
            let rules = &authorised.group.rules;
            if who == Who::CredsReader {
                if rules.reads_creds_as_non_member(authorised.granted) {
                    return Ok(None);
                }
                return Err(Refusal::Forbidden("not a member, and not one to read credentials").into());
            }
            return Err(Refusal::Groupcomm(GroupcommError::NotAMember).into());
        };
        if let (Who::Owner, Resource::Node(node)) = (who, resource)
            && node != member.node
        {
            return Err(Refusal::Forbidden("another member's resource").into());
        }
        Ok(Some(member))
    }
}
