//! The suite that every transport profile passes at the KDC.
//!
//! ```
//! use ace_groupcomm::testkit::{build::transfer, toy, transport::suite};
//! use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial};
//!
//! # fn main() -> Result<(), String> {
//! let post = transfer(b"token", &[1; 8]);
//! let material = OscoreInputMaterial::new(vec![1], vec![2; 16]);
//! suite(&toy::TRANSPORT, &post, &Confirmation::Osc(material))
//! # }
//! ```

use super::{Failure, require};
use crate::Secret;
use crate::id::AssociationId;
use crate::registry::TransportProfileDescriptor;
use crate::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm_messages::labels::oauth;
use ace_groupcomm_messages::{Confirmation, Label, TokenTransferRequest};
use std::collections::BTreeSet;

/// What the KDC itself says in the answer to a post.
const OF_THE_KDC: [i64; 4] = [oauth::KDCCHALLENGE, oauth::SIGN_INFO, oauth::ECDH_INFO, oauth::KDC_DH_CREDS];

/// One offer: `number` is in all that is random, and in the names.
struct Case<'a> {
    profile: &'a dyn TransportProfile,
    number: u8,
    names: Vec<AssociationId>,
}

impl<'a> Case<'a> {
    fn new(profile: &'a dyn TransportProfile, number: u8) -> Self {
        let names = [vec![number], vec![number, 1], vec![number, 2], vec![number, 1, 2, 3]];
        Self { profile, number, names: names.into_iter().map(AssociationId::from).collect() }
    }

    fn associate(&self, post: &TokenTransferRequest, cnf: &Confirmation) -> Result<NewAssociation, TransportRefusal> {
        let (random, secret) = ([self.number; 32], Secret::new(vec![self.number ^ 0xff; 32]));
        self.profile.associate(post, cnf, Offer { random, secret, names: &mut self.names.iter().cloned() })
    }
}

/// Runs the whole suite. `post` and `cnf` are a token post and a key that the profile takes.
///
/// # Errors
/// The first thing that the contract asks for and that did not hold.
pub fn suite(
    descriptor: &TransportProfileDescriptor,
    post: &TokenTransferRequest,
    cnf: &Confirmation,
) -> Result<(), Failure> {
    let profile = descriptor.profile;
    require(profile.number() == descriptor.number, "the profile and its descriptor have the same number")?;
    let is_symmetric = matches!(cnf, Confirmation::Osc(_));
    require(!(is_symmetric && profile.key_is_public(cnf)), "a token with a symmetric key is for nobody else to read")?;
    let case = Case::new(profile, 0x40);
    let made = case.associate(post, cnf).map_err(|refusal| format!("the post is taken, not refused: {refusal}"))?;
    looks(&case, &made)?;
    let again = case.associate(post, cnf);
    require(again.as_ref() == Ok(&made), "what is made of one post and one offer is always the same")?;
    others(profile, &made, post, cnf)?;
    no_names(profile, post, cnf)?;
    broken_posts(&case, post, cnf)
}

fn looks(case: &Case<'_>, made: &NewAssociation) -> Result<(), Failure> {
    require(case.names.contains(&made.id), "the name is one of those that are offered")?;
    require(!made.material.expose().is_empty(), "there is material to make keys of")?;
    require(made.material.expose() != made.id.as_bytes(), "the name is no secret, so it is not the material")?;
    let mut labels = BTreeSet::new();
    for (label, _) in &made.answer {
        require(labels.insert(label.clone()), "no parameter is in the answer twice")?;
        let is_taken = OF_THE_KDC.iter().any(|number| *label == Label::Int(*number));
        require(!is_taken, "what the KDC itself says in the answer is not the profile's to say")?;
    }
    Ok(())
}

/// Another offer for the same token makes other keys, of the same input material.
fn others(
    profile: &dyn TransportProfile,
    made: &NewAssociation,
    post: &TokenTransferRequest,
    cnf: &Confirmation,
) -> Result<(), Failure> {
    let case = Case::new(profile, 0x60);
    let other = case.associate(post, cnf).map_err(|refusal| format!("a second post is taken too: {refusal}"))?;
    looks(&case, &other)?;
    // Without sequence numbers a handshake may be what makes the keys differ.
    let differs = other.material != made.material || !profile.has_sequence_numbers();
    require(differs, "two associations of one token have two materials, else a nonce comes twice under one key")?;
    require(other.input_id == made.input_id, "the input material has the same name, whatever was offered")
}

fn no_names(profile: &dyn TransportProfile, post: &TokenTransferRequest, cnf: &Confirmation) -> Result<(), Failure> {
    let case = Case { names: Vec::new(), ..Case::new(profile, 0x40) };
    let refused = case.associate(post, cnf).err();
    require(refused == Some(TransportRefusal::NoName), "without a name there is no association, but `NoName`")
}

/// Posts that lack something, or have too much: taken or refused, and nothing else.
fn broken_posts(case: &Case<'_>, post: &TokenTransferRequest, cnf: &Confirmation) -> Result<(), Failure> {
    for len in [None, Some(0), Some(1), Some(7), Some(8), Some(64), Some(256), Some(70_000)] {
        let bytes = len.map(|len| vec![0x40; len]);
        let nonce = TokenTransferRequest { nonce1: bytes.clone(), ..post.clone() };
        let id = TokenTransferRequest { client_recipient_id: bytes.clone(), ..post.clone() };
        let both = TokenTransferRequest { client_recipient_id: bytes, ..nonce.clone() };
        for broken in [nonce, id, both] {
            let Ok(made) = case.associate(&broken, cnf) else { continue };
            looks(case, &made)?;
            // A profile whose posts have no such name does not look at it.
            let own = post.client_recipient_id.as_ref().and(broken.client_recipient_id.as_deref());
            require(own != Some(made.id.as_bytes()), "an association has not the client's own name for it")?;
        }
    }
    Ok(())
}
