//! The network side of the test kit's toy transport: messages name their association, and nothing protects them. It serves beside
//! OSCORE in tests.

use ace_coap::security::{
    ClientSecurity, Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding, ResponseError,
    SentRequest,
};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The number of the toy transport profile.
pub const TOY: i64 = -70_000;
/// The name of the association in a request: a critical option, so that a server without the transport refuses it.
pub const NAME: u16 = 65_001;
/// The name in a response, as an elective option: a client may leave it unread.
pub const OF: u16 = 65_000;

/// The network side of the toy transport.
#[derive(Default)]
pub struct ToyWire(Mutex<Table>);

#[derive(Default)]
struct Table {
    known: BTreeSet<Vec<u8>>,
    needs: Vec<AssociationNeed>,
    waker: Option<Waker>,
}

impl ToyWire {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, mut message: Message, is_last_try: bool) -> Inbound {
        let Some(name) = message.options.first(NAME).map(<[u8]>::to_vec) else { return Inbound::Plain(message) };
        let (peer, mut table) = (PeerId::new(&name), self.table());
        if table.known.contains(&name) {
            message.options.remove(NAME);
            return Inbound::Verified { peer, message, binding: ReplyBinding::new(name), fresh: true };
        }
        if is_last_try {
            return Inbound::Answer(Message::response(Code::UNAUTHORIZED));
        }
        table.needs.push(AssociationNeed::Unknown(name.into()));
        table.waker.take().into_iter().for_each(Waker::wake);
        Inbound::Later(peer, message)
    }
}

impl MessageSecurity for ToyWire {
    fn unprotect(&self, outer: Message) -> Inbound {
        self.take(outer, false)
    }

    fn unprotect_again(&self, outer: Message) -> Inbound {
        self.take(outer, true)
    }

    fn protect(&self, mut response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let name = binding.into_inner::<Vec<u8>>().ok_or(ProtectError::ForeignBinding)?;
        response.options.set(OF, &name);
        Ok(response)
    }

    fn knows_option(&self, number: u16) -> bool {
        number == NAME
    }

    fn observe(&self, _: &ReplyBinding) -> Option<ObservationBinding> {
        None
    }

    fn notify(&self, _: Message, _: &ObservationBinding) -> Result<Message, ProtectError> {
        Err(ProtectError::ForeignBinding)
    }

    fn protect_request(&self, peer: &PeerId, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        if !self.table().known.contains(peer.as_bytes()) {
            return Err(ProtectError::NoAssociation);
        }
        let mut request = request.clone();
        request.options.push(NAME, peer.as_bytes());
        Ok((request, SentRequest::new(peer.clone())))
    }

    fn unprotect_response(&self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
        let peer = sent.inner_mut::<PeerId>().ok_or(ResponseError::NotVerified)?;
        let is_peers = response.options.first(OF) == Some(peer.as_bytes());
        is_peers.then(|| response.clone()).ok_or(ResponseError::NotProtected)
    }
}

impl Associations for ToyWire {
    fn notice(&self, notice: AssociationNotice) {
        let mut table = self.table();
        match notice {
            AssociationNotice::New { id, profile: TOY, .. } | AssociationNotice::Loaded { id, profile: TOY, .. } => {
                table.known.insert(id.as_bytes().to_vec());
            }
            AssociationNotice::Gone { id } | AssociationNotice::Ended { id } => {
                table.known.remove(id.as_bytes());
            }
            _ => (),
        }
    }

    fn poll_needs(&self, context: &mut std::task::Context<'_>) -> Poll<Vec<AssociationNeed>> {
        let mut table = self.table();
        if table.needs.is_empty() {
            table.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut table.needs))
    }
}

/// A client of the toy transport, which asks and answers under the association with this name.
pub struct ToySide(pub Vec<u8>);

impl ClientSecurity for ToySide {
    fn protect_request(&mut self, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        let mut request = request.clone();
        request.options.push(NAME, &self.0);
        Ok((request, SentRequest::new(())))
    }

    fn unprotect_response(&mut self, response: &Message, _: &mut SentRequest) -> Result<Message, ResponseError> {
        Ok(response.clone())
    }

    fn unprotect_request(&mut self, mut request: Message, _: Option<[u8; 8]>) -> Inbound {
        if request.options.first(NAME) != Some(&self.0) {
            return Inbound::Plain(request);
        }
        request.options.remove(NAME);
        Inbound::Verified { peer: PeerId::new(b"KDC"), message: request, binding: ReplyBinding::new(()), fresh: false }
    }

    fn protect_response(&mut self, mut response: Message, _: ReplyBinding) -> Result<Message, ProtectError> {
        response.options.set(OF, &self.0);
        Ok(response)
    }
}
