//! Transport profiles: how a client and the KDC come to an association out of a token.

use crate::Secret;
use crate::id::AssociationId;
use crate::request::Registration;
use ace_groupcomm_messages::{Confirmation, Label, RawCbor, TokenTransferRequest};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::task::{Context, Poll};
use thiserror::Error;

/// What the KDC puts into an association: random bytes and a name that is free.
pub struct Offer<'a> {
    /// Random bytes, for nonces: the client, and whoever listens, may see them.
    pub random: [u8; 32],
    /// Random bytes that nobody else has: for a secret that the answer hands to the client, e.g. one that it shows with each
    /// request over TLS.
    pub secret: Secret,
    /// Gives names for the association, each other than those before; the profile takes the first that
    /// suits it, or says [`TransportRefusal::NoName`]. There are two, unless almost all are taken. They are unique among all that live, wait or are configured, in all processes. They are no
    /// secrets: whoever knows one must not be taken for the client.
    pub names: &'a mut dyn Iterator<Item = AssociationId>,
}

/// An association that was made of a token and is not proven yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAssociation {
    /// The name under which the peer's messages will be known.
    pub id: AssociationId,
    /// The name of the input material at the issuer; an update of rights names it.
    pub input_id: Vec<u8>,
    /// What the keys are derived from, in the profile's own form. Of a profile with sequence numbers it is another one for each
    /// association, since the numbers begin anew.
    pub material: Secret,
    /// What the answer to the post says of the association: parameters of the transport profile, e.g. N2 and ID2 of RFC 9203. The
    /// KDC adds its own, and the same answer is given again where the very same post comes again.
    pub answer: Vec<(Label, RawCbor)>,
}

/// Why no association can be made of a post: always 4.00 (RFC 9203 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportRefusal {
    /// The token is bound to a key of another profile.
    #[error("the token's key is for another profile")]
    OtherProfile,
    /// A parameter is missing.
    #[error("a parameter is missing")]
    Missing,
    /// A parameter is beyond what is possible or allowed.
    #[error("a parameter is out of bounds")]
    OutOfBounds,
    /// The version or an algorithm is not supported.
    #[error("version or algorithm is not supported")]
    Unsupported,
    /// No name is left for the association.
    #[error("no name is left")]
    NoName,
}

/// ACE's part of a transport profile, for a resource server.
///
/// # Tokens that come with a handshake
///
/// A token that does not come by a post, but in a handshake (`psk_identity` of DTLS, External Authorization Data of EDHOC), is handed in
/// as the same request all the same: the network side makes a POST to authz-info of it, and calls the engine. The association's name
/// is in [`Response::association`](crate::Response::association), and its material has come by [`AssociationNotice::New`] before that
/// answer. Where the keys come of the handshake itself, [`AssociationNeed::Established`] says what they are.
///
/// # Example
///
/// A whole one is in the guide, `guide::write_a_transport`. The toy one of the test kit, as the KDC calls it:
///
/// ```
/// use ace_groupcomm::messages::{Confirmation, OscoreInputMaterial};
/// use ace_groupcomm::testkit::{build::transfer, toy::ToyTransport};
/// use ace_groupcomm::traits::transport::{Offer, TransportProfile, TransportRefusal};
/// use ace_groupcomm::{AssociationId, Secret};
///
/// let post = transfer(b"token", &[1; 8]);
/// let cnf = Confirmation::Osc(OscoreInputMaterial::new(vec![1], vec![2; 16]));
/// let associate = |names: Vec<AssociationId>| {
///     let offer = Offer { random: [3; 32], secret: Secret::new(vec![4; 32]), names: &mut names.into_iter() };
///     ToyTransport.associate(&post, &cnf, offer)
/// };
/// assert_eq!(associate(vec![AssociationId::from(vec![5])])?.id.as_bytes(), [5]);
/// assert_eq!(associate(Vec::new()), Err(TransportRefusal::NoName));
/// # Ok::<(), TransportRefusal>(())
/// ```
pub trait TransportProfile: Send + Sync {
    /// Returns its registered number, `ace_profile`.
    fn number(&self) -> i64;

    /// Whether a token bound to this key may be read by others than the resource server. A token with a
    /// symmetric key may not, so it has to be encrypted.
    fn key_is_public(&self, cnf: &Confirmation) -> bool;

    /// Whether messages that are no answers need sequence numbers. Where they do not, none are reserved, and the network side is
    /// told of none.
    fn has_sequence_numbers(&self) -> bool {
        true
    }

    /// Whether the keys of an association come of a handshake after the post. Where they do, nothing is taken under it before
    /// [`AssociationNeed::Established`] says what they are.
    fn awaits_handshake(&self) -> bool {
        false
    }

    /// Makes an association of an unprotected post. It is called several times for one post: of the same post, key and offer it
    /// makes the same association.
    ///
    /// # Errors
    /// [`TransportRefusal`].
    fn associate(
        &self,
        post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal>;
}

/// A change that the network side has to follow, in order with the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssociationNotice {
    /// A new association: messages under it are to be verified.
    New {
        /// The name of the association.
        id: AssociationId,
        /// The transport profile, `ace_profile`.
        profile: i64,
        /// What the keys are derived from.
        material: Secret,
    },
    /// Sequence numbers from the first up to, not including, the second may be used.
    Sequence {
        /// The name of the association.
        id: AssociationId,
        /// The first number that may be used.
        start: u64,
        /// One behind the last.
        limit: u64,
    },
    /// An association of a former process, or of another one, is taken up: which requests were seen under it is not
    /// known, so that the client has to prove by Echo that it asks now. Numbers for that are had when a message has verified:
    /// [`AssociationNeed::Challenge`].
    Loaded {
        /// The name of the association.
        id: AssociationId,
        /// The transport profile, `ace_profile`.
        profile: i64,
        /// What the keys are derived from.
        material: Secret,
        /// Whether no other process can have it. Otherwise it is claimed first: [`AssociationNeed::Claim`].
        owned: bool,
    },
    /// The association is this process's from now on: a request that proved by Echo that it is new may be taken. The
    /// former owner has acted on no request with that Echo value, but maybe on any other one, sent later too: those
    /// are asked for one more Echo.
    Claimed {
        /// The name of the association.
        id: AssociationId,
    },
    /// Another process has claimed the association, or none has: which requests were seen is forgotten.
    Lost {
        /// The name of the association.
        id: AssociationId,
    },
    /// What was asked for could not be done. It may be asked for again.
    Unavailable {
        /// The name of the association.
        id: AssociationId,
    },
    /// The client of an association may do less than before: what is kept for it is not to be given out any more.
    Restricted {
        /// The name of the association.
        id: AssociationId,
    },
    /// The rights of the association's client have ended (RFC 9200 section 5.10.3). Nothing is accepted under it any more; who
    /// observes something is told so once, and then it is gone.
    Ended {
        /// The name of the association.
        id: AssociationId,
    },
    /// The association is gone, or there never was one.
    Gone {
        /// The name of the association.
        id: AssociationId,
    },
    /// The client of an association has left a group: what it observes of this resource, and below it, ends without a word.
    Unobserved {
        /// The name of the association.
        id: AssociationId,
        /// The path, segment by segment.
        path: Vec<String>,
    },
    /// A resource and all below it have changed: who observes one of them is to be told.
    ChangedBelow {
        /// Its path, segment by segment.
        path: Vec<String>,
    },
    /// A resource has changed: who observes it is to be told.
    Changed {
        /// Its path, segment by segment.
        path: Vec<String>,
    },
}

/// What the network side needs for an association.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssociationNeed {
    /// More sequence numbers for its context.
    Sequence(AssociationId),
    /// A few sequence numbers, to ask for an Echo whose message has verified, and who may replay it. There are only so many an
    /// hour; beyond that the answer is [`AssociationNotice::Unavailable`].
    Challenge(AssociationId),
    /// All of it: a message came under a name that is not known here. The answer is [`AssociationNotice::Loaded`],
    /// [`AssociationNotice::Gone`], or [`AssociationNotice::Unavailable`] where it may be asked for again.
    Unknown(AssociationId),
    /// It is to be this process's: its client has proven here, by Echo, that it asks now. Nothing less may take an
    /// association from another process, else a replay could.
    Claim(AssociationId),
    /// One of its observations has ended: what is stored of the registration goes.
    Unobserved(AssociationId, Registration),
    /// Its handshake has ended, which makes keys of its own (EDHOC, say): this is what they are derived from, in place of what
    /// [`TransportProfile::associate`] had. The answer is [`AssociationNotice::New`], and messages under it are taken from then on,
    /// not before; or [`AssociationNotice::Unavailable`] where no association of this name waits for a handshake
    /// ([`TransportProfile::awaits_handshake`]), e.g. since one has ended already.
    Established(AssociationId, Secret),
}

/// Needs have an order for sets of them. Material counts by its hash: how secrets compare is not to be told by time.
impl Ord for AssociationNeed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for AssociationNeed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AssociationNeed {
    /// The name of the association.
    #[must_use]
    pub fn id(&self) -> &AssociationId {
        match self {
            Self::Sequence(id)
            | Self::Challenge(id)
            | Self::Unknown(id)
            | Self::Claim(id)
            | Self::Unobserved(id, _)
            | Self::Established(id, _) => id,
        }
    }

    fn order(&self) -> (u8, &AssociationId, Option<&Registration>, Option<[u8; 32]>) {
        match self {
            Self::Sequence(id) => (0, id, None, None),
            Self::Challenge(id) => (1, id, None, None),
            Self::Unknown(id) => (2, id, None, None),
            Self::Claim(id) => (3, id, None, None),
            Self::Unobserved(id, registration) => (4, id, Some(registration), None),
            Self::Established(id, material) => (5, id, None, Some(Sha256::digest(material.expose()).into())),
        }
    }
}

/// The network side's table of associations.
///
/// One that knows which there are, and looks none up:
///
/// ```
/// use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
/// use ace_groupcomm::{AssociationId, Secret};
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::task::{Context, Poll};
///
/// #[derive(Default)]
/// struct Known(Mutex<BTreeMap<AssociationId, Secret>>);
///
/// impl Associations for Known {
///     fn notice(&self, notice: AssociationNotice) {
///         let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         match notice {
///             AssociationNotice::New { id, material, .. } => drop(known.insert(id, material)),
///             AssociationNotice::Gone { id } | AssociationNotice::Ended { id } => drop(known.remove(&id)),
///             // Notices that one does not know, or need, are for others.
///             _ => (),
///         }
///     }
///
///     fn poll_needs(&self, _context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>> {
///         Poll::Pending
///     }
/// }
///
/// let (known, id) = (Known::default(), AssociationId::from(vec![1]));
/// known.notice(AssociationNotice::New { id: id.clone(), profile: -70_000, material: Secret::new(vec![7; 16]) });
/// known.notice(AssociationNotice::Gone { id });
/// assert!(known.0.lock().is_ok_and(|known| known.is_empty()));
/// ```
pub trait Associations: Send + Sync {
    /// Follows a change. Changes come in order, before the answers that rest on them.
    fn notice(&self, notice: AssociationNotice);

    /// What is needed, each once until a notice settles it. With nothing to say it keeps the waker, and calls it
    /// when there is.
    fn poll_needs(&self, context: &mut Context<'_>) -> Poll<Vec<AssociationNeed>>;
}
