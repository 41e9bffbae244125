//! A group is made: its identifier, its first Gid, its first secrets, in one commit.

use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::keying::epoch::Begun;
use crate::kdc::start::{StartEvent, StartRefusal};
use crate::kdc::{Event, Group, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, GroupId};
use crate::schema::records::{BelongsTo, GroupConfiguration, GroupSecret, Head, Meta};

/// A group whose version has begun.
fn created(group: &Group, Begun { changes, created, expires }: Begun) -> Outcome<Event> {
    Outcome::done_with(changes).with_event(Event::Created { gname: group.gname.clone(), created, expires })
}

const BROKEN: Refusal = Refusal::Internal("a group has no head, or no secret of its version");

impl KdcApp {
    pub(in crate::kdc) fn create(&self, view: &View<'_>, gname: &str) -> Result<Outcome<Event>, Stop> {
        let group = self.groups.get(gname).ok_or(Refusal::NotFound)?;
        let (known, meta) = (view.get::<BelongsTo<GroupId>>(&keys::name(gname)), view.get::<Meta>(&keys::meta()));
        let (known, meta) = (known?, meta?);
        let meta = meta.copied().unwrap_or_default();
        if let Some(BelongsTo(id)) = known {
            return self.take_up(view, group, *id, meta);
        }
        let id = GroupId::new(view.random_bytes("group"));
        let mut begun = self.first_epoch(view, group, id, meta)?;
        begun.changes.put(keys::name(gname), BelongsTo(id));
        Ok(created(group, begun))
    }

    /// A group that is there goes on as it is, if it is as it is configured. One of a former incarnation is renewed, and one
    /// of which no configuration is stored takes what is configured.
    fn take_up(&self, view: &View<'_>, group: &Group, id: GroupId, meta: Meta) -> Result<Outcome<Event>, Stop> {
        if let Some(begun) = self.renew(view, group, id, meta)? {
            return Ok(created(group, begun));
        }
        let (head, stored) = (view.get::<Head>(&keys::head(id)), view.get::<GroupConfiguration>(&keys::config(id)));
        let (head, stored) = (head?.ok_or(BROKEN)?, stored?);
        let secret = view.get::<GroupSecret>(&keys::secret(id, head.num))?.ok_or(BROKEN)?;
        let event = Event::Created { gname: group.gname.clone(), created: secret.created, expires: secret.expires };
        // Another process may have made it since all was compared.
        if let Some(differing) = stored.and_then(|stored| group.differences(stored)) {
            let refused = StartEvent::Refused(StartRefusal::Parameters(vec![differing]));
            return Ok(Outcome::done().with_event(Event::Start(refused)));
        }
        let configured = group.configuration();
        if stored == Some(&configured) {
            return Ok(Outcome::done().with_event(event));
        }
        // What is served from now on stands there: of a parameter that is new the value that it has today.
        let mut changes = Changes::new();
        changes.put(keys::config(id), configured);
        Ok(Outcome::done_with(changes).with_event(event))
    }
}
