//! The operations: token, upload, join, keys, credentials.

use super::bytes::Bytes;
use super::event::MemberEvent;
use super::group::JoinedGroup;
use super::run::{Run, Stop};
use super::state::{Session, Token};
use super::{ExchangeError, MemberError, Operation, Setup, Task, follow, membership, names, verify};
use crate::auth_server::TOKEN;
use crate::time::UnixTime;
use crate::{Method, Request, Response, Status};
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::labels::rekeying_scheme;
use ace_groupcomm_messages::labels::token_type::POP;
use ace_groupcomm_messages::paths::{AUTHZ_INFO, KDC_CRED, NODES, ROOT};
use ace_groupcomm_messages::{
    Confirmation, CredsResponse, GetCreds, GroupcommError, JoinRefusal, JoinRequest, JoinResponse, KdcCred,
    ProblemDetails, Scope, ScopeValue, TokenError, TokenRequest, TokenResponse, TokenTransferResponse,
};
use std::time::Duration;

/// Resets and unprotected answers of the KDC after which an association is given up. One alone proves nothing:
/// anybody can send it.
const PATIENCE: u32 = 3;
/// How often a join is tried: once more with a new challenge, and once more with a new association.
const JOINS: u32 = 3;
/// Lengths of what is drawn.
const NONCE: usize = 8;
const CLIENT_ID: usize = 2;

pub(super) const OLDER: MemberError = MemberError::Unusable("the KDC offers an older version of the keying material");
pub(super) const SPENT: MemberError = MemberError::Unusable("the KDC gives a Sender ID again under the same keys");

pub(super) fn operate(setup: &Setup, task: &Task, run: &mut Run<'_>) -> Result<(), Stop> {
    membership::end_expired(setup, run)?;
    let operation = match task {
        Task::Operation(Operation::Token) => return token(setup, run),
        Task::Operation(operation) => *operation,
        Task::LookUp(gids) => {
            valid_token(run)?;
            return names::look_up(&granted(setup, run)?, run, gids);
        }
        Task::Notified(told) => return follow::notified(&granted(setup, run)?, run, told),
    };
    if run.state.token.is_some() {
        valid_token(run)?;
    }
    let setup = &granted(setup, run)?;
    follow::drop_ended(setup, run)?;
    match operation {
        Operation::Token => Ok(()),
        Operation::Upload => upload(setup, run),
        Operation::Join => join(setup, run),
        Operation::Keys => keys(setup, run),
        Operation::Creds => creds(setup, run),
        Operation::Version => follow::version(setup, run),
        Operation::Refresh => follow::refresh(setup, run),
        Operation::Renew => membership::renew(setup, run),
        Operation::ChangeCredential => membership::change_credential(setup, run),
        Operation::Leave => membership::leave(setup, run),
        Operation::KdcCred => kdc_cred(setup, run),
        Operation::VerifyData => verify::verify_data(setup, run),
        Operation::Status => follow::status(setup, run),
        Operation::Observe => follow::observe(setup, run),
    }
}

/// Phase 1: asks the AS for a token.
fn token(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let asked = TokenRequest {
        audience: Some(setup.audience.clone()),
        scope: Some(ScopeValue::Bytes(Scope::from(setup.rules.scope()).encode())),
        ..TokenRequest::default()
    };
    let request = Request::new(Method::Post, [TOKEN]).with_payload(ACE_CBOR, asked.encode());
    let answer = run.ask_as(request)?;
    if answer.status != Status::Created {
        let error = TokenError::decode(&answer.payload).ok();
        let detail = error.and_then(|error| error.description).unwrap_or_default();
        return Err(MemberError::Refused { status: answer.status, detail }.into());
    }
    if answer.content_format != Some(ACE_CBOR) {
        return Err(MemberError::NoTokenResponse(answer.content_format).into());
    }
    let response = TokenResponse::decode(&answer.payload)?;
    if response.token_type.is_some_and(|token_type| token_type != POP) {
        return Err(MemberError::Unusable("the token is no PoP token: nobody proves to have its key").into());
    }
    setup.transport.takes(&response)?;
    let cnf = response.cnf.as_ref().ok_or(MemberError::Unusable("the token response has no key"))?;
    let lifetime = response.expires_in.ok_or(MemberError::Unusable("the token has no end"))?;
    run.state.token = Some(Token {
        access_token: Bytes(response.access_token.clone()),
        cnf: Bytes(cnf.encode()),
        expires: run.asked.plus(Duration::from_secs(lifetime)),
        asked: Some(run.asked),
        scope: response.scope.as_ref().map(ScopeValue::decode).transpose()?.map(|scope| Bytes(scope.encode())),
    });
    granted(setup, run)?;
    run.save()
}

/// The setup for the roles that the token grants.
fn granted(setup: &Setup, run: &Run<'_>) -> Result<Setup, MemberError> {
    let Some(scope) = run.state.token.as_ref().and_then(|token| token.scope.as_ref()) else { return Ok(setup.clone()) };
    let (scope, asked) = (Scope::decode(&scope.0)?, setup.rules.scope());
    let granted = scope.entry(&asked.gname).ok_or(MemberError::Unusable("the token is not for this group"))?;
    Ok(Setup { rules: setup.rules.narrowed(granted)?, ..setup.clone() })
}

/// The token, as long as it is good.
fn valid_token<'r>(run: &'r Run<'_>) -> Result<&'r Token, MemberError> {
    let token = run.state.token.as_ref().ok_or(MemberError::NoToken)?;
    if token.expires <= run.unix { Err(MemberError::Expired("token")) } else { Ok(token) }
}

/// Phase 2, first half: posts the token to the KDC. The answer is not protected, so the former association is kept
/// until one has verified under the new.
fn upload(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let token = valid_token(run)?;
    let (access_token, cnf) = (token.access_token.0.clone(), Confirmation::decode(&token.cnf.0)?);
    let used = [&run.state.session, &run.state.offered].map(|session| session.as_ref().map(|s| s.client_id.0.clone()));
    let mut client_id = run.random::<CLIENT_ID>().to_vec();
    while used.contains(&Some(client_id.clone())) {
        client_id = run.random::<CLIENT_ID>().to_vec();
    }
    let nonce = run.random::<NONCE>();
    let (mut post, begun) = setup.transport.begin(access_token, &cnf, nonce, client_id.clone())?;
    post.asks_sign_info = true;
    post.asks_ecdh_info = true;
    let request = Request::new(Method::Post, [AUTHZ_INFO]).with_payload(ACE_CBOR, post.encode());
    let answer = run.ask_unprotected(request)?;
    if answer.status != Status::Created {
        return Err(
            MemberError::Refused { status: answer.status, detail: "the KDC does not take the token".into() }.into()
        );
    }
    let response = TokenTransferResponse::decode(&answer.payload)?;
    let association = begun.finish(&response)?;
    run.state.offered = Some(Session {
        association: Bytes(association.expose().to_vec()),
        client_id: Bytes(client_id),
        next: 0,
        kdcchallenge: response.kdcchallenge.map(Bytes),
    });
    run.change_association();
    run.save()
}

/// A member whose association was given up, since its numbers may have been used elsewhere, makes a new one.
fn restore(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    valid_token(run)?;
    if run.state.current().is_none() && run.state.groups.contains_key(&setup.rules.scope().gname) {
        upload(setup, run)?;
    }
    Ok(())
}

/// Asks the KDC under the association. After some failures an association which has never worked is given up for the
/// one that has, and where that does not work either the token is posted anew. `request` is made anew for each try, of the
/// association and a nonce: a proof is bound to the association's challenge, and no nonce is sent twice.
pub(super) fn ask(
    setup: &Setup,
    run: &mut Run<'_>,
    mut request: impl FnMut(&Session, [u8; NONCE]) -> Result<Request, MemberError>,
) -> Result<Response, Stop> {
    restore(setup, run)?;
    let mut uploaded = false;
    loop {
        let mut failure = None;
        for _ in 0..PATIENCE {
            let nonce = run.random();
            let request = request(run.state.current().ok_or(MemberError::NoSession)?, nonce)?;
            match run.ask_protected(request)? {
                Ok(answer) => {
                    proven(run)?;
                    return Ok(answer);
                }
                Err(error @ ExchangeError::Doubtful(_)) => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        if run.state.session.is_some() && run.state.offered.take().is_some() {
            run.change_association();
            run.save()?;
        } else if let Some(failure) = failure.filter(|_| uploaded) {
            return Err(failure.into());
        } else {
            upload(setup, run)?;
            uploaded = true;
        }
    }
}

/// An answer has verified: the association is the KDC's, and replaces the former one.
fn proven(run: &mut Run<'_>) -> Result<(), Stop> {
    if let Some(offered) = run.state.offered.take() {
        run.state.session = Some(offered);
        run.save()?;
    }
    Ok(())
}

pub(super) fn get(setup: &Setup, resource: &[&str]) -> Request {
    let gname = setup.rules.scope().gname;
    Request::new(Method::Get, [ROOT, &gname].into_iter().chain(resource.iter().copied()))
}

/// Phase 2, second half: joins the group, or joins it again. Where it comes to nothing, nothing in the state has
/// changed but the challenge and the association.
fn join(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    let path = [ROOT.to_owned(), setup.rules.scope().gname];
    let (answer, cnonce) = prove(setup, run, &path, setup.rules.get_creds(), |mut join| {
        join.control_uri.clone_from(&setup.control_uri);
        join
    })?;
    take_in(setup, run, &answer, &cnonce)
}

/// Posts a proof of possession of the member's key, in what `wanted` makes of a Join Request. Returns the answer, a success, and the N_C
/// that it is for.
pub(super) fn prove(
    setup: &Setup,
    run: &mut Run<'_>,
    path: &[String],
    get_creds: Option<GetCreds>,
    wanted: impl Fn(JoinRequest) -> JoinRequest,
) -> Result<(Response, [u8; NONCE]), Stop> {
    for attempt in 0..JOINS {
        let mut cnonce = [0; NONCE];
        let answer = ask(setup, run, |session, nonce| {
            cnonce = nonce;
            let challenge = session.kdcchallenge.clone().unwrap_or_default();
            let join = wanted(setup.rules.join(&challenge.0, &cnonce, get_creds.clone())?);
            Ok(Request::new(Method::Post, path.iter().cloned()).with_payload(ACE_GROUPCOMM_CBOR, join.encode()))
        })?;
        if answer.status.is_success() {
            return Ok((answer, cnonce));
        }
        if attempt == 0 && error_of(&answer) == Some(GroupcommError::InvalidProof) {
            // The challenge came unprotected: it may not be the KDC's.
            upload(setup, run)?;
            continue;
        }
        let challenge = Some(&answer)
            .filter(|answer| answer.content_format == Some(ACE_GROUPCOMM_CBOR))
            .and_then(|answer| JoinRefusal::decode(&answer.payload).ok())
            .and_then(|refusal| refusal.kdcchallenge);
        let (Some(challenge), Some(session)) = (challenge, run.state.current_mut()) else {
            return Err(membership::turned_away(setup, run, &answer));
        };
        session.kdcchallenge = Some(Bytes(challenge));
        run.save()?;
    }
    Err(MemberError::Unusable("the KDC takes no proof, whichever challenge it is over").into())
}

/// Checks a Join Response and keeps what it gives.
fn take_in(setup: &Setup, run: &mut Run<'_>, answer: &Response, cnonce: &[u8]) -> Result<(), Stop> {
    let node = match answer.location_path.as_slice() {
        [root, _, nodes, node] if root == ROOT && nodes == NODES => node.clone(),
        _ => return Err(MemberError::Unusable("the Join Response names no node").into()),
    };
    let response = JoinResponse::decode(&answer.payload)?;
    if response.material.rekeying_scheme.as_ref().is_some_and(|scheme| *scheme != rekeying_scheme::POINT_TO_POINT) {
        return Err(MemberError::Unusable("the group is rekeyed by a scheme that the member does not have").into());
    }
    let joined = setup.rules.joined(response, cnonce)?;
    let name = setup.rules.scope().gname;
    let former = run.state.groups.get(&name);
    let had = former.map(|former| former.num);
    if had.is_some_and(|had| had > joined.num) {
        return Err(OLDER.into());
    }
    let is_other_kdc = former.is_some_and(|former| former.kdc_cred.0 != joined.kdc_cred);
    if is_other_kdc {
        tracing::warn!(group = %name, "the KDC has another credential than before");
    }
    let known: Vec<Bytes> = former.into_iter().flat_map(|former| &former.peers).map(|peer| peer.id.clone()).collect();
    let former = former.map(|former| former.ended(setup.rules.as_ref()));
    let former = former.or_else(|| run.state.former.get(&name).cloned()).unwrap_or_default();
    let spent = former.spent.clone();
    let mut group = JoinedGroup {
        num: joined.num,
        expires: expires(run, joined.exp, joined.exi),
        node,
        kdc_cred: Bytes(joined.kdc_cred),
        peers: Vec::new(),
        key: Bytes(joined.key.as_bytes().to_vec()),
        spent,
        doubtful: false,
        cnonce: Bytes(cnonce.to_vec()),
        control_uri: setup.control_uri.clone(),
        inactive: false,
    };
    group.set_peers(setup.rules.as_ref(), joined.peers);
    let is_gone = |id: &Bytes| group.peers.iter().all(|peer| peer.id != *id);
    let gone: Vec<Bytes> = known.into_iter().filter(is_gone).collect();
    if group.is_spent(setup.rules.as_ref()) {
        return Err(SPENT.into());
    }
    run.state.groups.insert(name.clone(), group);
    run.state.former.remove(&name);
    run.save()?;
    if former.num.is_some_and(|had| had > joined.num) {
        run.tell(MemberEvent::Older { num: joined.num });
    }
    if is_other_kdc {
        run.tell(MemberEvent::KdcCredChanged);
    }
    if !gone.is_empty() {
        run.tell(MemberEvent::Stale(gone));
    }
    run.tell(MemberEvent::Joined { num: joined.num });
    Ok(())
}

/// Gets the KDC's credential anew (RFC 9594 section 4.5). It takes the place of the one that is kept when the KDC has proven it, over
/// the N_C of the last join.
fn kdc_cred(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    group(setup, run)?;
    let answer = ask(setup, run, |_, _| Ok(get(setup, &[KDC_CRED])))?;
    if !answer.status.is_success() {
        return Err(membership::turned_away(setup, run, &answer));
    }
    let kdc = KdcCred::decode(&answer.payload)?;
    let group = group(setup, run)?;
    setup.rules.kdc_proven(&kdc, &group.cnonce.0)?;
    if group.kdc_cred.0 == kdc.kdc_cred {
        return Ok(());
    }
    group.kdc_cred = Bytes(kdc.kdc_cred);
    run.save()?;
    run.tell(MemberEvent::KdcCredChanged);
    Ok(())
}

/// When keys end, by the member's clock: at the time that the KDC says, or after what it says to be left, whichever comes
/// first. A clock that is slow does not make them last.
pub(super) fn expires(run: &Run<'_>, exp: Option<u64>, exi: Option<u64>) -> Option<UnixTime> {
    exp.map(UnixTime::new).into_iter().chain(exi.map(|exi| run.asked.plus(Duration::from_secs(exi)))).min()
}

pub(super) fn group<'r>(setup: &Setup, run: &'r mut Run<'_>) -> Result<&'r mut JoinedGroup, MemberError> {
    run.state.groups.get_mut(&setup.rules.scope().gname).ok_or(MemberError::NotAMember)
}

/// Gets the keying material, hands it out, and marks it as handed out. Keys that were handed out before, or that may have been used
/// without a record of it, are handed out again only under a new identifier.
fn keys(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    if group(setup, run)?.is_spent(setup.rules.as_ref()) {
        join(setup, run)?;
    }
    follow::refresh(setup, run)?;
    let unix = run.unix;
    let group = group(setup, run)?;
    if group.is_spent(setup.rules.as_ref()) {
        return Err(SPENT.into());
    }
    if group.expires.is_none_or(|expires| expires <= unix) {
        return Err(MemberError::Expired("keying material").into());
    }
    let handed = group.clone();
    if !run.hand_out(handed)? {
        return Err(MemberError::NotHandedOut.into());
    }
    self::group(setup, run)?.spend(setup.rules.as_ref());
    run.save()
}

/// Gets the credentials of all members. They are those of one version of the keying material: an older one is refused,
/// and before those of a newer one its keys are fetched.
pub(super) fn creds(setup: &Setup, run: &mut Run<'_>) -> Result<(), Stop> {
    for _ in 0..2 {
        let num = group(setup, run)?.num;
        let answer = ask(setup, run, |_, _| Ok(get(setup, &["creds"])))?;
        if !answer.status.is_success() {
            return Err(membership::turned_away(setup, run, &answer));
        }
        let creds = CredsResponse::decode(&answer.payload)?;
        let theirs = creds.as_ref().map_or(num, |creds| creds.num);
        if theirs < num {
            return Err(OLDER.into());
        }
        if theirs > num {
            follow::drop_key(setup, run)?;
        }
        if theirs == num {
            let peers = creds.map(|creds| creds.peers).unwrap_or_default();
            group(setup, run)?.set_peers(setup.rules.as_ref(), peers);
            return run.save();
        }
        follow::refresh(setup, run)?;
    }
    Err(MemberError::Unusable("the keying material changes all the time").into())
}

/// The error of RFC 9594 section 5 that an answer names.
pub(super) fn error_of(answer: &Response) -> Option<GroupcommError> {
    let is_problem = answer.content_format == Some(PROBLEM_DETAILS_CBOR);
    ProblemDetails::decode(&answer.payload).ok().filter(|_| is_problem).and_then(|details| details.error())
}

/// Why the KDC refused, as far as it says so.
pub(super) fn refused(answer: &Response) -> MemberError {
    let title = ProblemDetails::decode(&answer.payload).ok().and_then(|details| details.title);
    MemberError::Refused { status: answer.status, detail: title.unwrap_or_default() }
}
