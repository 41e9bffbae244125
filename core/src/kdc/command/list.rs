//! What there is: groups, members, bans, in pages.

use super::{Done, Target, refused, target, told};
use crate::audit::hex;
use crate::command::{
    BanSummary, CommandError, GroupDetails, GroupSummary, MAX_PAGE, MemberSummary, Page, PageAfter, Report,
};
use crate::config::from_hex;
use crate::engine::store::view::{Stop, View};
use crate::kdc::KdcApp;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::kind::Kind;
use crate::schema::records::{Ban, GroupSecret, MemberRecord, NamedGroup, Principal};
use crate::time::UnixTime;
use crate::traits::profile::Roles;
use crate::traits::storage::Key;

/// How many entries a page has.
fn limit(page: &PageAfter) -> usize {
    page.limit.clamp(1, MAX_PAGE)
}

/// The client behind which a page begins.
fn client_after(page: &PageAfter) -> Result<Option<PrincipalId>, CommandError> {
    let Some(after) = &page.after else { return Ok(None) };
    let bytes = from_hex(after).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map(|bytes| Some(PrincipalId::new(bytes))).ok_or_else(|| CommandError::Page(after.clone()))
}

/// The client in the key of a member or a ban.
pub(super) fn client_in(key: &Key) -> Option<PrincipalId> {
    match Kind::of(key) {
        Some(Kind::Member(_, client) | Kind::Ban(_, client)) => Some(client),
        _ => None,
    }
}

impl Ban {
    pub(super) fn summary(&self) -> BanSummary {
        let Self { node, issuer, subject, since, until } = self.clone();
        BanSummary { node, issuer, subject, since, until }
    }
}

impl Target<'_> {
    fn summary(&self) -> GroupSummary {
        let profile = self.group.as_ref().map_or("unknown", |group| group.profile.name);
        GroupSummary {
            name: self.gname.into(),
            profile: profile.into(),
            resource_type: self.group.as_ref().map_or("", |group| group.rules.resource_type()).into(),
            active: self.head.active,
            members: self.head.members,
            num: self.head.num,
            gid: self.head.gid.to_string(),
            rekey_due: self.head.rekey_due.clone(),
        }
    }
}

impl KdcApp {
    pub(super) fn list_groups(&self, view: &View<'_>, page: &PageAfter) -> Done {
        let after = page.after.as_deref().map(keys::name);
        let (names, more) = view.hint_after::<NamedGroup>(&keys::names(), after.as_ref(), limit(page))?;
        let gname = |key: &Key| {
            let bytes = key.as_bytes().strip_prefix(keys::names().as_bytes())?;
            std::str::from_utf8(bytes).ok().map(String::from)
        };
        let live = names.iter().filter(|(_, name)| name.live().is_some());
        let gnames: Vec<String> = live.filter_map(|(key, _)| gname(key)).collect();
        // All are asked for before the first is looked at.
        let targets: Vec<_> = gnames.iter().map(|gname| self.target(view, gname)).collect();
        let targets = targets.into_iter().collect::<Result<Vec<_>, Stop>>()?;
        let entries = targets.into_iter().flatten().map(|target| target.summary()).collect();
        Ok(told(Report::Groups(Page { entries, more: more.as_ref().and_then(gname) })))
    }

    pub(super) fn show_group(&self, view: &View<'_>, gname: &str) -> Done {
        let target = target!(self, view, gname);
        let secret = view.get::<GroupSecret>(&keys::secret(target.id, target.head.num))?;
        let parameters = target.group.as_ref().map(|group| group.parameters.iter());
        let details = GroupDetails {
            summary: target.summary(),
            epoch: target.head.epoch,
            created: secret.map_or(UnixTime::EPOCH, |secret| secret.created),
            expires: secret.map_or(UnixTime::EPOCH, |secret| secret.expires),
            issuers: target.group.as_ref().and_then(|group| group.issuers.clone()),
            parameters: parameters.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        Ok(told(Report::Group(Box::new(details))))
    }

    pub(super) fn list_members(&self, view: &View<'_>, gname: &str, page: &PageAfter) -> Done {
        let after = match client_after(page) {
            Ok(after) => after,
            Err(why) => return Ok(refused(why)),
        };
        let target = target!(self, view, gname);
        let (prefix, after) = (keys::members(target.id), after.map(|client| keys::member(target.id, client)));
        let (members, more) = view.hint_after::<MemberRecord>(&prefix, after.as_ref(), limit(page))?;
        let clients: Vec<_> = members
            .iter()
            .filter_map(|(key, member)| Some((client_in(key)?, member)))
            .map(|(client, member)| (member, view.get::<Principal>(&keys::principal(client))))
            .collect();
        let mut entries = Vec::new();
        for (member, client) in clients {
            // Who has gone meanwhile is no member.
            let Some(client) = client?.filter(|client| client.is_member(target.id)) else { continue };
            entries.push(summary(&target, member, client));
        }
        let more = more.as_ref().and_then(client_in).map(|client| hex(client.as_bytes()));
        Ok(told(Report::Members(Page { entries, more })))
    }

    pub(super) fn list_bans(&self, view: &View<'_>, gname: &str, page: &PageAfter) -> Done {
        let after = match client_after(page) {
            Ok(after) => after,
            Err(why) => return Ok(refused(why)),
        };
        let target = target!(self, view, gname);
        let after = after.map(|client| keys::ban(target.id, client));
        let (bans, more) = view.hint_after::<Ban>(&keys::bans(target.id), after.as_ref(), limit(page))?;
        let time = self.expiry.time(view.now());
        let entries = bans.iter().filter(|(_, ban)| ban.until > time).map(|(_, ban)| ban.summary()).collect();
        let more = more.as_ref().and_then(client_in).map(|client| hex(client.as_bytes()));
        Ok(told(Report::Bans(Page { entries, more })))
    }

    /// The record under a prefix, in the name of a client, that is the wanted one; with the client.
    pub(super) fn find<T: crate::RecordType>(
        &self,
        view: &View<'_>,
        prefix: &Key,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<PrincipalId>, Stop> {
        let mut after = None;
        loop {
            let (records, more) = view.hint_after::<T>(prefix, after.as_ref(), FOUND_IN)?;
            if let Some((key, _)) = records.iter().find(|(_, record)| is_it(record)) {
                return Ok(client_in(key));
            }
            match more {
                Some(last) => after = Some(last),
                None => return Ok(None),
            }
        }
    }
}

/// How many records are looked at in one step of [`KdcApp::find`].
const FOUND_IN: usize = 4_096;

fn summary(target: &Target<'_>, member: &MemberRecord, client: &Principal) -> MemberSummary {
    let roles = Roles(member.roles);
    // The one that lasts longest of those that name the group.
    let of_group = client.tokens.iter().map(|held| &held.token);
    let of_group = of_group.filter(|token| token.scope.iter().any(|(name, _)| name == target.gname));
    let token = of_group.max_by_key(|token| token.expires);
    let names = target.group.as_ref().map_or_else(Vec::new, |group| group.profile.profile.role_names(roles));
    MemberSummary {
        node: member.node.clone(),
        issuer: client.issuer.clone(),
        subject: client.subject.clone(),
        sender_id: member.sender_id.as_ref().map(ToString::to_string),
        roles: names.into_iter().map(Into::into).collect(),
        token_expires: token.map_or(UnixTime::EPOCH, |token| token.expires),
        token_hash: token.map(|token| token.hash.to_string()).unwrap_or_default(),
    }
}
