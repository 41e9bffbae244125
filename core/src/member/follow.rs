//! The newest keying material: asked for, or told by an observation (RFC 9594 section 6, Group OSCORE profile section 11.3).

use super::Setup;
use super::bytes::Bytes;
use super::event::MemberEvent;
use super::flow::{OLDER, ask, creds, expires, get, group};
use super::group::Peer;
use super::membership;
use super::run::{Run, Stop};
use crate::{Method, Registration, Request, Response};
use ace_groupcomm_messages::labels::content_format::CBOR;
use ace_groupcomm_messages::paths::{NODES, NUM, ROOT};
use ace_groupcomm_messages::{RawCbor, RekeyingMessage, retrieval};
use std::collections::BTreeSet;

/// Gets the keying material and installs it. An older one is never installed.
pub(super) fn refresh(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    ask_own_node(setup, run, None)
}

/// The same, and registers for the next.
pub(super) fn observe(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    ask_own_node(setup, run, Some(Registration::asked()))
}

fn ask_own_node(setup: &Setup, run: &mut Run<'_>, observe: Option<Registration>) -> Result<(), Stop> {
    let node = group(setup, run)?.node.clone();
    let answer = ask(setup, run, |_, _| Ok(Request { observe: observe.clone(), ..get(setup, &[NODES, &node]) }))?;
    if !answer.status.is_success() {
        return Err(membership::turned_away(setup, run, &answer));
    }
    let message = RekeyingMessage::decode(&answer.payload)?;
    if message.material.num < group(setup, run)?.num {
        run.tell(MemberEvent::Older { num: message.material.num });
        return Err(OLDER.into());
    }
    install(setup, run, message)
}

/// Asks for the version alone (RFC 9594 section 4.6), which costs least. Also who is no member any more may ask, and is refused.
pub(super) fn version(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let answer = ask(setup, run, |_, _| Ok(get(setup, &[NUM])))?;
    if !answer.status.is_success() {
        return Err(membership::turned_away(setup, run, &answer));
    }
    let num = retrieval::decode_num(&answer.payload)?;
    let held = group(setup, run)?;
    let (had, has_key) = (held.num, !held.key.0.is_empty());
    if num < had {
        run.tell(MemberEvent::Older { num });
        return Err(OLDER.into());
    }
    if num == had && has_key {
        return Ok(());
    }
    // Others use the newer one: the key that the member has counts no longer, whether it gets that or not.
    drop_key(setup, run)?;
    refresh(setup, run)
}

/// Asks whether the group is active, where its profile can say that (Group OSCORE profile section 9.9).
pub(super) fn status(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    group(setup, run)?;
    let Some(resource) = setup.rules.status_resource() else { return Ok(()) };
    let answer = ask(setup, run, |_, _| Ok(get(setup, &[resource])))?;
    if !answer.status.is_success() {
        return Err(membership::turned_away(setup, run, &answer));
    }
    let inactive = !retrieval::decode_active(&answer.payload)?;
    let group = group(setup, run)?;
    if group.inactive == inactive {
        return Ok(());
    }
    group.inactive = inactive;
    run.save()?;
    run.tell(if inactive { MemberEvent::Inactive } else { MemberEvent::Active });
    Ok(())
}

/// Takes a notification. What is older than what the member has comes late, and is left.
pub(super) fn notified(setup: &Setup, run: &mut Run<'_>, told: &Response) -> Result<(), Stop> {
    let Ok(held) = group(setup, run) else { return Ok(()) };
    let had = held.num;
    if !told.status.is_success() {
        return Err(membership::turned_away(setup, run, told));
    }
    let message = RekeyingMessage::decode(&told.payload)?;
    if setup.rules.is_configuration(&message.material) {
        if message.material.num < had {
            return Ok(());
        }
        // With a rekeying message alone what it has would make a key that nobody else has.
        if message.material.num > had {
            drop_key(setup, run)?;
        }
        return refresh(setup, run);
    }
    // A rekeying message that is repeated has nothing new, and not all of the material either.
    let repeats = message.material.num == had && setup.rules.key(&message.material).is_err();
    if message.material.num < had || repeats { Ok(()) } else { install(setup, run, message) }
}

/// Installs keying material that is not older than the member's. Before that of a version which does not follow the member's own,
/// or that does not say which identifiers went stale, this is asked for.
pub(super) fn install(setup: &Setup, run: &mut Run<'_>, message: RekeyingMessage) -> Result<(), Stop> {
    let (rules, num) = (setup.rules.as_ref(), message.material.num);
    let held = group(setup, run)?;
    // The key of a version that was missed is dropped at once; then the material has to be whole.
    let (had, held_key) = (held.num, RawCbor::new(&held.key.0).ok());
    if num == had {
        return install_same(setup, run, &message, held_key.as_ref());
    }
    let key = match &held_key {
        Some(held) => rules.rekeyed(held, &message.material)?,
        None => rules.key(&message.material)?,
    };
    let asked = run.asked;
    let follows = had.checked_add(1) == Some(num);
    let (stale, others) = match message.stale_node_ids.clone().filter(|_| follows) {
        Some(stale) => (Some(stale), message.joined.clone().unwrap_or_default()),
        None if follows && !rules.names_who_left() => (None, Vec::new()),
        None => {
            drop_key(setup, run)?;
            run.tell(MemberEvent::Missed { had, num });
            // Who joined meanwhile is not told: credentials of unknown members are asked for where they are needed.
            (stale_since(setup, run, had)?, Vec::new())
        }
    };
    // The time that is left counts from when the material was asked for, not from when the stale identifiers were.
    run.asked = asked;
    let expires = expires(run, message.material.exp, message.material.exi);
    let own = rules.own_id(&key);
    let group = group(setup, run)?;
    // Where a message says who has left nobody is compared.
    let asks = stale.is_none() && !rules.names_who_left();
    let known: Vec<Bytes> = group.peers.iter().filter(|_| asks).map(|peer| peer.id.clone()).collect();
    let gone = group.forget(stale.as_deref());
    let others = others.into_iter().filter(|peer| Some(&peer.id) != own.as_ref());
    let others: Vec<Peer> = others.map(|peer| Peer::new(rules, peer)).collect();
    group.peers.retain(|known| others.iter().all(|other| other.id != known.id));
    group.peers.extend(others);
    (group.num, group.expires, group.key) = (num, expires, Bytes(key.as_bytes().to_vec()));
    run.save()?;
    if asks {
        run.tell(MemberEvent::Rekeyed { num });
        // Who needs no credentials of others has none to drop.
        return if rules.get_creds().is_some() { find_who_left(setup, run, &known) } else { Ok(()) };
    }
    match gone {
        None => run.tell(MemberEvent::OthersForgotten),
        Some(gone) if gone.is_empty() => (),
        Some(gone) => run.tell(MemberEvent::Stale(gone)),
    }
    run.tell(MemberEvent::Rekeyed { num });
    Ok(())
}

/// Asks who has a credential under a new version, and tells which of those that were known before have left.
fn find_who_left(setup: &Setup, run: &mut Run<'_>, known: &[Bytes]) -> Result<(), Stop> {
    creds(setup, run)?;
    let group = group(setup, run)?;
    let are: BTreeSet<&[u8]> = group.peers.iter().map(|peer| peer.id.0.as_slice()).collect();
    let left: Vec<Bytes> = known.iter().filter(|id| !are.contains(id.0.as_slice())).cloned().collect();
    if !left.is_empty() {
        run.tell(MemberEvent::Stale(left));
    }
    Ok(())
}

/// The version that the member has: its end may have been told anew, and material of its own may be another.
fn install_same(
    setup: &Setup,
    run: &mut Run<'_>,
    message: &RekeyingMessage,
    held: Option<&RawCbor>,
) -> Result<(), Stop> {
    let rules = setup.rules.as_ref();
    let key = rules.key(&message.material)?;
    let is_renewed = held.is_some_and(|held| rules.key_name(&key) != rules.key_name(held));
    let expires = expires(run, message.material.exp, message.material.exi);
    let group = group(setup, run)?;
    if is_renewed && rules.key_name(&key).is_some_and(|name| group.spent.contains(&Bytes(name))) {
        // It comes late: the member has had another since.
        return Ok(());
    }
    if is_renewed {
        group.spend(rules);
        group.doubtful = false;
    }
    (group.expires, group.key) = (expires, Bytes(key.as_bytes().to_vec()));
    run.save()?;
    if is_renewed {
        run.tell(MemberEvent::Renewed);
    }
    Ok(())
}

/// Deletes the key of a version that is not to be used any more: one that was missed or has ended. Who the others are stays known.
pub(super) fn drop_key(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let group = group(setup, run)?;
    if group.key.0.is_empty() {
        return Ok(());
    }
    if group.doubtful {
        group.spend(setup.rules.as_ref());
    }
    group.key = Bytes::default();
    run.save()
}

/// Keying material that has come to its end is deleted, whether the KDC can be reached or not. What follows asks for the next.
pub(super) fn drop_ended(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let unix = run.unix;
    let Ok(held) = group(setup, run) else { return Ok(()) };
    if held.key.0.is_empty() || held.expires.is_none_or(|expires| expires > unix) {
        return Ok(());
    }
    let num = held.num;
    drop_key(setup, run)?;
    run.tell(MemberEvent::KeysEnded { num });
    Ok(())
}

/// Which identifiers went stale since a version; `None` where nobody can tell.
fn stale_since(setup: &Setup, run: &mut Run<'_>, had: i64) -> Result<Option<Vec<Vec<u8>>>, Stop> {
    let Some(resource) = setup.rules.stale_resource() else { return Ok(None) };
    let gname = setup.rules.scope().gname;
    let answer = ask(setup, run, |_, _| {
        let request = Request::new(Method::Fetch, [ROOT, &gname, resource]);
        Ok(request.with_payload(CBOR, retrieval::encode_num(had)))
    })?;
    if !answer.status.is_success() {
        return Ok(None);
    }
    Ok(retrieval::decode_stale_sids(&answer.payload)?)
}

impl super::JoinedGroup {
    /// Drops those whose identifiers are stale, or all where that is not known (`None`). Returns the identifiers of those who were
    /// dropped; `None` where all were.
    fn forget(&mut self, stale: Option<&[Vec<u8>]>) -> Option<Vec<Bytes>> {
        let Some(stale) = stale else {
            self.peers.clear();
            return None;
        };
        let stale: BTreeSet<&[u8]> = stale.iter().map(Vec::as_slice).collect();
        let known = std::mem::take(&mut self.peers);
        let (gone, kept) = known.into_iter().partition(|peer: &Peer| stale.contains(peer.id.0.as_slice()));
        self.peers = kept;
        Some(gone.into_iter().map(|peer| peer.id).collect())
    }
}
