//! What a member does to its membership: renews its own keying material, changes its credential, leaves; and how it ends.

use super::event::MemberEvent;
use super::flow::{ask, error_of, group, prove, refused};
use super::follow;
use super::run::{Run, Stop};
use super::{MemberError, Setup};
use crate::{Method, Request, Response};
use ace_groupcomm_messages::paths::{CRED, NODES, ROOT};
use ace_groupcomm_messages::{GroupcommError, JoinRequest, RawCbor, RekeyingMessage};

/// The path of the member's own resource.
fn own_node(setup: &Setup, run: &mut Run<'_>) -> Result<Vec<String>, MemberError> {
    let node = group(setup, run)?.node.clone();
    Ok(vec![ROOT.to_owned(), setup.rules.scope().gname, NODES.to_owned(), node])
}

/// Gets individual keying material (RFC 9594 section 4.8.2). The KDC may rekey the group instead: the answer is a rekeying message then.
pub(super) fn renew(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    if group(setup, run)?.key.0.is_empty() {
        follow::refresh(setup, run)?;
    }
    let path = own_node(setup, run)?;
    let answer = ask(setup, run, |_, _| Ok(Request::new(Method::Post, path.iter().cloned())))?;
    if !answer.status.is_success() {
        return Err(turned_away(setup, run, &answer));
    }
    if let Ok(message) = RekeyingMessage::decode(&answer.payload) {
        return follow::install(setup, run, message);
    }
    let rules = setup.rules.as_ref();
    let held = RawCbor::new(&group(setup, run)?.key.0)?;
    rules.renewed(&held, &answer.payload)?;
    // What it had is not used any more, whatever comes late. Which version the new one is for the answer does not say: both are
    // asked for together.
    let group = group(setup, run)?;
    group.spend(rules);
    run.save()?;
    follow::refresh(setup, run)
}

/// Tells the group another credential (RFC 9594 section 4.9.1).
pub(super) fn change_credential(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let mut path = own_node(setup, run)?;
    path.push(CRED.to_owned());
    prove(setup, run, &path, None, |join| JoinRequest { scope: None, extra: Vec::new(), ..join })?;
    run.tell(MemberEvent::CredentialChanged);
    Ok(())
}

/// Leaves the group (RFC 9594 section 4.8.3). Where the KDC says that it is no member, it has left before.
pub(super) fn leave(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let path = own_node(setup, run)?;
    let answer = ask(setup, run, |_, _| Ok(Request::new(Method::Delete, path.iter().cloned())))?;
    if answer.status.is_success() {
        return end(setup, run, MemberEvent::Left);
    }
    match turned_away(setup, run, &answer) {
        Stop::Failed(_) if group(setup, run).is_err() => Ok(()),
        stop => Err(stop),
    }
}

/// The KDC has refused. Where it says why, the membership is over.
pub(super) fn turned_away(setup: &Setup, run: &mut Run<'_>, answer: &Response) -> Stop {
    let event = match error_of(answer) {
        Some(GroupcommError::NotAMember | GroupcommError::MembershipTerminated) => Some(MemberEvent::Ended),
        Some(GroupcommError::GroupDeleted) => Some(MemberEvent::GroupDeleted),
        _ => None,
    };
    match event.map_or(Ok(()), |event| end(setup, run, event)) {
        Ok(()) => refused(answer).into(),
        Err(stop) => stop,
    }
}

/// Membership and association last no longer than the token by which the member has them (RFC 9594 section 5, RFC 9203 section 6): the
/// KDC has ended both.
pub(super) fn end_expired(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    if run.state.token.as_ref().is_none_or(|token| token.expires > run.unix) {
        return Ok(());
    }
    if run.state.current().is_some() {
        (run.state.session, run.state.offered) = (None, None);
        run.change_association();
        run.save()?;
    }
    end(setup, run, MemberEvent::Ended)
}

/// The membership is over: nothing is kept but what was used.
fn end(setup: &Setup, run: &mut Run<'_>, event: MemberEvent) -> Result<(), Stop> {
    let name = setup.rules.scope().gname;
    let Some(group) = run.state.groups.remove(&name) else { return Ok(()) };
    run.state.former.insert(name, group.ended(setup.rules.as_ref()));
    run.save()?;
    run.tell(event);
    Ok(())
}
