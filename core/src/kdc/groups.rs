//! FETCH of /ace-group: names and URIs of groups by their Gid (RFC 9594 section 4.2).

use super::caller::TokenHolder;
use super::{Event, KdcApp, content};
use crate::access::ROOT;
use crate::engine::Outcome;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::keys;
use crate::state::records::{GidOwner, Head};
use crate::view::{Stop, View};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::{GroupName, GroupNamesRequest, GroupNamesResponse};

/// Longest Gid that there can be.
const MAX_GID: usize = 16;
/// Most Gids in one request.
const MAX_GIDS: usize = 64;

impl KdcApp {
    /// Shows groups of the caller's token only; others look as if they were not there.
    pub(super) fn fetch_groups(
        &self,
        view: &View<'_>,
        holder: &TokenHolder<'_>,
        request: &Request,
    ) -> Result<Outcome<Event>, Stop> {
        if request.content_format.is_some_and(|format| format != ACE_GROUPCOMM_CBOR) {
            return Err(Refusal::UnsupportedContentFormat.into());
        }
        let asked = GroupNamesRequest::decode(&request.payload).map_err(|_| Refusal::BadRequest("gid is malformed"))?;
        if asked.gids.len() > MAX_GIDS {
            return Err(Refusal::BadRequest("too many group identifiers").into());
        }
        let mut groups: Vec<GroupName> = Vec::new();
        for gid in asked.gids {
            let bytes = gid.as_bytes_item().ok_or(Refusal::BadRequest("a group identifier is a byte string"))?;
            if bytes.len() > MAX_GID {
                continue;
            }
            let Some(owner) = view.get::<GidOwner>(&keys::gid(&bytes))? else { continue };
            let named = holder.principal.token.scope.iter().any(|(name, _)| *name == owner.gname);
            let head = view.get::<Head>(&keys::head(owner.group))?;
            let current = head.is_some_and(|head| head.gid.as_slice() == bytes);
            if named && current && !groups.iter().any(|known| known.gname == owner.gname) {
                let guri = format!("/{ROOT}/{}", owner.gname);
                groups.push(GroupName { gid, gname: owner.gname.clone(), guri });
            }
        }
        let answer = GroupNamesResponse { groups };
        Ok(Outcome::answer(content(ACE_GROUPCOMM_CBOR, answer.encode())))
    }
}
