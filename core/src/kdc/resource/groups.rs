//! FETCH of /ace-group: names and URIs of groups by their Gid (RFC 9594 section 4.2).

use crate::engine::store::view::{Stop, View};
use crate::id::Gid;
use crate::kdc::KdcApp;
use crate::kdc::resource::content;
use crate::kdc::route::Answer;
use crate::kdc::scene::{Scene, TokenHolder};
use crate::refusal::Refusal;
use crate::schema::keys;
use crate::schema::records::{Head, NamedGroup};
use ace_groupcomm_messages::paths::ROOT;
use ace_groupcomm_messages::{GroupName, GroupNamesRequest, GroupNamesResponse};
use std::collections::BTreeMap;

/// Most Gids in one request.
const MAX_GIDS: usize = 64;

impl KdcApp {
    /// Shows groups of the caller's token only; others look as if they were not there.
    pub(in crate::kdc) fn fetch_groups(&self, scene: &Scene<'_, '_>, holder: &TokenHolder<'_>) -> Answer {
        let (view, payload) = (scene.view, &scene.request.payload);
        let asked = GroupNamesRequest::decode(payload).map_err(|_| Refusal::BadRequest("gid is malformed"))?;
        if asked.gids.len() > MAX_GIDS {
            return Err(Refusal::BadRequest("too many group identifiers").into());
        }
        // Only groups of the caller's token are looked at, however many are asked for.
        let mut own: BTreeMap<Gid, &str> = BTreeMap::new();
        let names = holder.held.token.scope.iter().map(|(name, _)| name.as_str());
        let gids: Vec<_> = names.map(|name| (name, current_gid(view, name))).collect();
        for (name, gid) in gids {
            own.extend(gid?.map(|gid| (gid, name)));
        }
        let mut groups: Vec<GroupName> = Vec::new();
        for gid in asked.gids {
            let bytes = gid.to_byte_string().ok_or(Refusal::BadRequest("a group identifier is a byte string"))?;
            if let Some(name) = own.remove(&Gid::from(bytes)) {
                groups.push(GroupName { gid, gname: name.to_owned(), guri: format!("/{ROOT}/{name}") });
            }
        }
        let answer = GroupNamesResponse { groups };
        Ok(content(answer.encode()))
    }
}

/// The Gid that a group has now.
fn current_gid(view: &View<'_>, gname: &str) -> Result<Option<Gid>, Stop> {
    let name = view.get::<NamedGroup>(&keys::name(gname))?;
    let Some(id) = name.and_then(NamedGroup::live) else { return Ok(None) };
    Ok(view.get::<Head>(&keys::head(id))?.map(|head| head.gid.clone()))
}
