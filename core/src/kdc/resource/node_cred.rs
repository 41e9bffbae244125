//! POST of /ace-group/GROUPNAME/nodes/NODENAME/cred: a member gets another credential (RFC 9594 section 4.9, Group OSCORE profile
//! section 9.4). Its Sender ID stays, and the group is not rekeyed.

use crate::audit::Entry;
use crate::engine::Outcome;
use crate::engine::store::changes::Changes;
use crate::kdc::resource::join::MAX_CNONCE;
use crate::kdc::route::Answer;
use crate::kdc::scene::{MemberScene, Scene};
use crate::kdc::{Event, KdcApp};
use crate::refusal::Refusal;
use crate::request::{Response, Status};
use crate::schema::keys;
use crate::schema::records::{BelongsTo, MemberRecord};
use crate::traits::profile::{EligibleCredential, Roles};
use ace_groupcomm_messages::{CredUpdate, CredentialInfo, GroupcommError, pop};

/// What such a request says, once it is known to be well-formed.
struct Update {
    cred: Vec<u8>,
    cnonce: Vec<u8>,
    evidence: Vec<u8>,
}

impl Update {
    fn decode(payload: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::BadRequest("the credential update is malformed");
        let CredUpdate { client_cred: cred, cnonce, client_cred_verify: evidence } =
            CredUpdate::decode(payload).map_err(|_| malformed)?;
        if cnonce.is_empty() || cnonce.len() > MAX_CNONCE {
            return Err(Refusal::BadRequest("cnonce is too short or too long"));
        }
        Ok(Self { cred, cnonce, evidence })
    }
}

impl KdcApp {
    pub(in crate::kdc) fn update_cred(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>) -> Answer {
        let (view, authorised, group) = (scene.view, member.authorised, member.group);
        let (rules, id) = (&authorised.group.rules, authorised.holder.id);
        if !group.head.active {
            return Err(Refusal::Groupcomm(GroupcommError::GroupInactive).into());
        }
        if !rules.shows_credential(Roles(member.member.roles)) {
            return Err(Refusal::Groupcomm(GroupcommError::InconsistentWithRoles).into());
        }
        let update = Update::decode(&scene.request.payload)?;
        self.check_provoked(view, group.id, id)?;
        let Some(challenge) = &authorised.holder.association.kdcchallenge else {
            return Ok(self.challenge(view, authorised, CredentialInfo::default()));
        };
        let eligible = self.eligible(view, authorised, &update.cred)?;
        self.failed_proofs.check(view.now(), id)?;
        let input = pop::client_input(&member.member.scope, &challenge.value, &update.cnonce);
        // An empty proof is none here: nothing was proven before of a credential that is new.
        if update.evidence.is_empty() || !rules.client_proves(view, &eligible, input, &update.evidence)? {
            let refusal = Refusal::Groupcomm(GroupcommError::InvalidProof);
            return Ok(Outcome::refused(refusal, Changes::new()).with_event(Event::ProofFailed(id)));
        }
        self.unclaimed(view, authorised, group, &eligible)?;
        self.replace_cred(scene, member, eligible)
    }

    /// Puts a credential that was proven in the place of the former one.
    fn replace_cred(&self, scene: &Scene<'_, '_>, member: &MemberScene<'_>, eligible: EligibleCredential) -> Answer {
        let (view, authorised, group) = (scene.view, member.authorised, member.group);
        let id = authorised.holder.id;
        let mut changes = Changes::new();
        let counted = self.note_provoked(view, group.id, id, &mut changes)?;
        if let Some(old) = member.member.claimed() {
            changes.delete(keys::credential(group.id, old));
        }
        let updated = MemberRecord { credential: Some(eligible), is_proven: true, ..member.member.clone() };
        if let Some(new) = updated.claimed() {
            changes.put(keys::credential(group.id, new), BelongsTo(id));
        }
        let entry =
            Entry::of_member("credential changed", &authorised.group.gname, authorised.holder.principal, &updated);
        changes.put(keys::member(group.id, id), updated);
        // Lists of credentials are known for a revision of the head.
        changes.put(keys::head(group.id), group.head.clone());
        let outcome = Outcome::changed(Response::new(Status::Changed), changes);
        Ok(outcome.with_event(counted).with_event(Event::Audit(entry)))
    }
}
