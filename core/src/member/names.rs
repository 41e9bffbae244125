//! Names of groups by their identifiers (RFC 9594 section 4.2.1): for who has heard a message of a group and knows its Gid alone.

use super::flow::{ask, refused};
use super::run::{Run, Stop};
use super::{Effect, Member, MemberEvent, Setup, Task};
use crate::time::UnixTime;
use crate::{Method, Request};
use ace_groupcomm_messages::labels::content_format::ACE_GROUPCOMM_CBOR;
use ace_groupcomm_messages::paths::ROOT;
use ace_groupcomm_messages::{GroupNamesRequest, GroupNamesResponse, RawCbor};
use rand_core::CryptoRng;

impl Member {
    /// Asks for the names of groups with these identifiers, as the profile encodes them. The KDC tells of those that the token names. It is an
    /// operation as the others; what it gives is told as [`MemberEvent::Names`].
    pub fn look_up(&mut self, unix: UnixTime, gids: Vec<RawCbor>, rng: &mut dyn CryptoRng) -> Effect {
        self.begin_task(unix, Task::LookUp(gids), rng)
    }
}

/// Asks for names, and tells them.
pub(super) fn look_up(setup: &Setup, run: &mut Run<'_>, gids: &[RawCbor]) -> Result<(), Stop> {
    let asked = GroupNamesRequest { gids: gids.to_vec() };
    let request = Request::new(Method::Fetch, [ROOT]).with_payload(ACE_GROUPCOMM_CBOR, asked.encode());
    let answer = ask(setup, run, |_, _| Ok(request.clone()))?;
    if !answer.status.is_success() {
        return Err(refused(&answer).into());
    }
    let GroupNamesResponse { groups } = GroupNamesResponse::decode(&answer.payload)?;
    // What was not asked for is not believed.
    let groups = groups.into_iter().filter(|group| gids.contains(&group.gid)).collect();
    run.tell(MemberEvent::Names(groups));
    Ok(())
}
