//! What an engine sends to a client that has not asked for it: a request to a resource of the client, under the association by
//! which it has asked before (RFC 9594 section 6.1, `control_uri`).
//!
//! An engine says so with [`Effect::Deliver`](crate::engine::Effect::Deliver). What is sent is made when it leaves the engine, of what
//! is stored then: so a driver sends it at once, or not at all, and never later.

use crate::id::AssociationId;
use crate::request::Request;
use crate::schema::keys::PrincipalId;
use crate::time::UnixTime;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::fmt;
use std::time::Duration;

/// Where messages of a client came from, and go back to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReturnAddress {
    /// The URI of the place without path, with an address and no name in it: `coap://192.0.2.1:5683`. A `control_uri` has to be
    /// below it.
    pub base: String,
    /// The same in the network side's own form, by which it sends there.
    pub opaque: Bytes,
}

/// A request to a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The association under which it is sent, and no other.
    pub association: AssociationId,
    /// Paths of resources. A client that observes one of them is told by that, and is sent nothing else ([`Delivered::Observed`]).
    pub observed: Vec<Vec<String>>,
    /// Where it goes, in the network side's own form ([`ReturnAddress::opaque`]).
    pub to: Bytes,
    /// The request: method, path and body are of the client's resource. It may hold keys.
    pub request: Request,
    /// How long an answer is waited for.
    pub patience: Duration,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("association", &self.association)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// The client has answered that it has taken it; the answer has verified.
    Confirmed,
    /// The client observes one of the resources, and is told by that.
    Observed,
    /// The client has answered that it does not take it; the answer has verified.
    Refused,
    /// No answer has come that verifies.
    Silent,
    /// It was not sent: there is no room, or this process cannot protect it now.
    NotSent,
}

/// Where a member takes requests, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The path of its resource, segment by segment.
    pub path: Vec<String>,
    /// Where it is, in the network side's own form.
    pub to: ByteBuf,
    /// The association by which it has said so.
    pub association: AssociationId,
    /// When.
    pub since: UnixTime,
    /// The version whose parameters it has confirmed, or joined with: those that no rekeying message says. 0 where a member has joined
    /// again, which may have missed the answer.
    #[serde(default)]
    pub configured: u64,
}

/// How far the members of a group who take requests were told of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyProgress {
    /// The version that all of them were told of, as far as they could be reached.
    pub told: u64,
    /// The version that they are being told of.
    pub num: u64,
    /// Up to which of them that has come.
    pub after: Option<PrincipalId>,
}

crate::plain_record!(ControlRecord, RekeyProgress);
