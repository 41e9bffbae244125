//! Groups come, rest and go while the KDC runs.

use super::{Done, changed, refused, target, told};
use crate::audit::Entry;
use crate::command::{CommandError, Report};
use crate::engine::store::view::View;
use crate::kdc::keying::delete::delete;
use crate::kdc::keying::epoch::{Begun, is_former};
use crate::kdc::keying::heads::SeenHead;
use crate::kdc::{Event, GroupConfig, KdcApp};
use crate::schema::keys;
use crate::schema::records::{GroupSecret, Head, Meta, NameState, NamedGroup, RekeyReason};
use crate::time::UnixTime;
use std::collections::BTreeSet;

impl KdcApp {
    pub(super) fn set_active(&self, view: &View<'_>, gname: &str, active: bool) -> Done {
        let target = target!(self, view, gname);
        if target.head.active == active {
            return Ok(told(Report::State { active, is_new: false }));
        }
        let mut changes = crate::Changes::new();
        changes.put(keys::head(target.id), Head { active, ..target.head.clone() });
        let seen = SeenHead { group: target.id, num: target.head.num, active };
        let event = if active { "group activated" } else { "group deactivated" };
        let head = Event::HeadChanged { gname: gname.into(), seen };
        let mut events = vec![head, Event::Audit(Entry::of_group(event, gname))];
        // What had to wait meanwhile.
        let secret = view.get::<GroupSecret>(&keys::secret(target.id, target.head.num))?;
        let lives = secret.zip(target.group.as_ref()).filter(|_| active);
        events.extend(lives.map(|(secret, group)| Event::Created {
            gname: gname.into(),
            group: target.id,
            num: target.head.num,
            created: secret.created,
            expires: secret.expires,
            interval: group.policy.interval,
        }));
        Ok(changed(Report::State { active, is_new: true }, changes, events))
    }

    /// Gives a group its next version, whether that is due or not.
    pub(super) fn rekey_by_command(&self, view: &View<'_>, gname: &str) -> Done {
        let target = target!(self, view, gname);
        let Some(group) = &target.group else { return Ok(refused(CommandError::NotServed(gname.into()))) };
        let meta = view.get::<Meta>(&keys::meta())?.copied().unwrap_or_default();
        if is_former(target.head, &meta) {
            return Ok(refused(CommandError::Unavailable("the group gets new keys after a restore")));
        }
        let mut reasons = target.head.rekey_due.as_ref().map(|due| due.reasons.clone()).unwrap_or_default();
        reasons.insert(RekeyReason::Commanded);
        let rekeyed = self.begin_rekeying(view, group, target.id, target.head, meta, &reasons)?;
        let report = Report::Rekeyed { num: rekeyed.head.num, gid: rekeyed.head.gid.to_string() };
        Ok(changed(report, rekeyed.changes, rekeyed.events))
    }

    pub(super) fn make_group(&self, view: &View<'_>, config: &GroupConfig, issuers: Option<&BTreeSet<String>>) -> Done {
        let gname = &config.gname;
        if let Some(trust) = &self.trust {
            let Some(issuers) = issuers.filter(|issuers| !issuers.is_empty()) else {
                return Ok(refused(CommandError::NobodySpeaks));
            };
            if let Some(unknown) = issuers.iter().find(|name| trust.issuer(name).is_none()) {
                return Ok(refused(CommandError::NoIssuer(unknown.clone())));
            }
        }
        // Tokens are compared with the moment.
        self.plausible(view)?;
        let group = match self.groups.define(config.clone(), issuers.cloned()) {
            Ok(group) => group,
            Err(why) => return Ok(refused(why.into())),
        };
        let (name, meta) = (view.get::<NamedGroup>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (name, meta) = (name?.copied(), meta?.copied().unwrap_or_default());
        let state = match name.map(|name| name.state) {
            None => NameState::Live(UnixTime::EPOCH),
            Some(NameState::Live(_)) => return Ok(refused(CommandError::Exists(gname.clone()))),
            // A token for the former group is none for this one.
            Some(NameState::Deleted(at)) => NameState::Live(view.arrived().unix.max(at)),
        };
        let begun = self.begin_group(view, &group, state, meta)?;
        let Begun { changes, group: id, num, created, expires, gid } = begun;
        let entry = Entry::of_group("group created", gname).with_version(0, &gid);
        let interval = group.policy.interval;
        let events =
            [Event::Created { gname: gname.clone(), group: id, num, created, expires, interval }, Event::Audit(entry)];
        Ok(changed(Report::Created { gid: gid.to_string() }, changes, events))
    }

    pub(super) fn delete_group(&self, view: &View<'_>, gname: &str, with_members: bool) -> Done {
        let target = target!(self, view, gname);
        let members = target.head.members;
        if members > 0 && !with_members {
            return Ok(refused(CommandError::HasMembers(members)));
        }
        self.plausible(view)?;
        let (changes, event) = delete(gname, target.id, target.head, view.arrived().unix);
        let events = [event, Event::Audit(Entry::of_group("group deleted", gname))];
        Ok(changed(Report::Deleted { members }, changes, events))
    }
}
