//! The credential of who joins: whether it fits the group, and whether the client has the key (RFC 9594 section 4.3.1, Group
//! OSCORE profile sections 6.1 and 6.2).

use super::{MAX_CRED, ValidatedJoin};
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::engine::store::view::{Stop, View};
use crate::kdc::scene::{Authorised, GroupState};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::schema::keys::{self, PrincipalId};
use crate::schema::records::{BelongsTo, Challenge, ChallengeOrigin, MemberRecord};
use crate::traits::profile::EligibleCredential;
use ace_groupcomm_messages::{CredentialInfo, GroupcommError, JoinRefusal, JoinRequest, pop};
use serde_bytes::ByteBuf;

/// A credential that the client may have in the group: none for who only monitors.
pub(super) struct AcceptedCredential {
    pub(super) credential: Option<EligibleCredential>,
    /// Whether the client has shown to have the private key, now or when it joined before.
    pub(super) is_proven: bool,
}

impl AcceptedCredential {
    const NONE: Self = Self { credential: None, is_proven: false };

    const fn proven(credential: EligibleCredential) -> Self {
        Self { credential: Some(credential), is_proven: true }
    }
}

/// What has to be settled about the credential.
pub(super) enum Proof {
    Accepted(AcceptedCredential),
    /// There is no N_S to prove it over: a new one is stored and sent.
    NeedsChallenge,
    /// It was verified, and is none.
    Failed,
}

impl KdcApp {
    /// Settles the credential: which request needs what is table 8 of the Group OSCORE profile's section 6.1.
    pub(super) fn prove(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        join: &JoinRequest,
        validated: &ValidatedJoin,
        former: Option<&MemberRecord>,
    ) -> Result<Proof, Stop> {
        let rules = &authorised.group.rules;
        if !rules.shows_credential(validated.roles) {
            return Ok(Proof::Accepted(AcceptedCredential::NONE));
        }
        let bad = |why| Stop::from(self.with_hints(authorised, why));
        let proven = former.and_then(|member| member.credential.as_ref().filter(|_| member.is_proven));
        let stored = proven.filter(|credential| self.has_not_ended(view, credential)).cloned();
        let remembers = rules.remembers_credential() && join.client_cred_verify.is_none();
        let left_out = Vec::new();
        let cred = join.client_cred.as_ref().or(remembers.then_some(&left_out));
        let cred = cred.ok_or_else(|| bad("client_cred is missing"))?;
        let challenge = authorised.holder.association.kdcchallenge.as_ref();
        // Without one no client could prove anything, whatever it has sent (RFC 9594 section 4.3.1).
        let lacks_challenge = challenge.is_none() && !cred.is_empty();
        let Some(evidence) = &join.client_cred_verify else {
            return match stored {
                Some(stored) if cred.is_empty() || *cred == stored.cred => {
                    Ok(Proof::Accepted(AcceptedCredential::proven(stored)))
                }
                _ if lacks_challenge && rules.proves_credential(validated.roles) => Ok(Proof::NeedsChallenge),
                _ if cred.is_empty() || rules.proves_credential(validated.roles) => {
                    Err(bad("the credential has to be proven"))
                }
                _ => {
                    let eligible = self.eligible(view, authorised, cred)?;
                    self.unclaimed(view, authorised, group, &eligible)?;
                    Ok(Proof::Accepted(AcceptedCredential { credential: Some(eligible), is_proven: false }))
                }
            };
        };
        // An empty proof says that possession of this credential was proven before.
        if evidence.is_empty() {
            return match stored.filter(|stored| stored.cred == *cred) {
                Some(stored) => Ok(Proof::Accepted(AcceptedCredential::proven(stored))),
                None if lacks_challenge => Ok(Proof::NeedsChallenge),
                None => Err(Refusal::Groupcomm(GroupcommError::InvalidProof).into()),
            };
        }
        if cred.is_empty() {
            return Err(bad("client_cred_verify is there without client_cred"));
        }
        let Some(challenge) = challenge else { return Ok(Proof::NeedsChallenge) };
        let eligible = self.eligible(view, authorised, cred)?;
        self.failed_proofs.check(view.now(), authorised.holder.id)?;
        let input = pop::client_input(&validated.scope, &challenge.value, &validated.cnonce);
        if !rules.client_proves(view, &eligible, input, evidence)? {
            return Ok(Proof::Failed);
        }
        self.unclaimed(view, authorised, group, &eligible)?;
        Ok(Proof::Accepted(AcceptedCredential::proven(eligible)))
    }

    /// Whether a credential may still be used.
    fn has_not_ended(&self, view: &View<'_>, credential: &EligibleCredential) -> bool {
        credential.expires.is_none_or(|end| end > self.expiry.time(view.now()))
    }

    /// A credential that fits the group, and has not come to its end.
    pub(in crate::kdc::resource) fn eligible(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        cred: &[u8],
    ) -> Result<EligibleCredential, Stop> {
        let eligible = if cred.len() <= MAX_CRED { authorised.group.rules.eligible(view, cred)? } else { None };
        let eligible = eligible.filter(|credential| self.has_not_ended(view, credential));
        eligible.ok_or_else(|| Refusal::Groupcomm(GroupcommError::IncompatibleCredential).into())
    }

    /// One credential belongs to one principal in a group: the proof names no KDC, so that another one could
    /// have had the client prove it there.
    pub(in crate::kdc::resource) fn unclaimed(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        group: &GroupState<'_>,
        credential: &EligibleCredential,
    ) -> Result<(), Stop> {
        let owner = view.get::<BelongsTo<PrincipalId>>(&keys::credential(group.id, &credential.thumbprint))?;
        // Members of the first format have claimed their keys by another name.
        let former = match MemberRecord::first_name(&credential.key) {
            Some(name) => view.assume_absent::<BelongsTo<PrincipalId>>(&keys::credential(group.id, &name))?,
            None => None,
        };
        if owner.into_iter().chain(former).any(|BelongsTo(owner)| *owner != authorised.holder.id) {
            return Err(Refusal::Groupcomm(GroupcommError::IncompatibleCredential).into());
        }
        Ok(())
    }

    /// 4.00 with a new N_S, which is stored (RFC 9594 sections 4.3.1 and 4.9.1).
    pub(in crate::kdc::resource) fn challenge(
        &self,
        view: &View<'_>,
        authorised: &Authorised<'_>,
        info: CredentialInfo,
    ) -> Outcome<Event> {
        let value = view.random_bytes::<8>("N_S").to_vec();
        let mut association = authorised.holder.association.clone();
        association.kdcchallenge =
            Some(Challenge { value: ByteBuf::from(value.clone()), origin: ChallengeOrigin::JoinRefusal });
        let mut changes = Changes::new();
        changes.put(keys::association(&authorised.holder.held.association), association);
        let hints = JoinRefusal { info, kdcchallenge: Some(value) };
        Outcome::refused(Refusal::Join("there is no challenge any more", Box::new(hints)), changes)
    }
}
