//! Several security protocols for one server: each takes the messages that it knows as its own.

use crate::Message;
use crate::security::{
    Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding, ResponseError, SentRequest,
    SessionId,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Several security protocols, in an order: a message is for the first that does not pass it on as unprotected.
///
/// A server that takes up the observations of another process, or of a former one, has the same protocols in the same order. No two
/// protocols may use one [`PeerId`]; a KDC gives each association another name. OSCORE takes every message
/// with its option: a protocol that shares the option comes before it.
#[derive(Clone)]
pub struct SecurityProtocols(Vec<Arc<dyn MessageSecurity>>);

/// This bit is set in the first byte of what `keep` returns; the others are the place of the protocol. What OSCORE alone has kept
/// begins with the length of a kid, where the bit is not set: it is not taken up after the server got a second protocol.
const OF_SEVERAL: u8 = 0x80;

/// A binding, and whose it is.
struct Of<T>(usize, T);

impl SecurityProtocols {
    /// These protocols, in this order.
    #[must_use]
    pub fn new(protocols: impl IntoIterator<Item = Arc<dyn MessageSecurity>>) -> Self {
        Self(protocols.into_iter().collect())
    }

    fn first(&self, mut message: Message, verify: impl Fn(&dyn MessageSecurity, Message) -> Inbound) -> Inbound {
        for (which, protocol) in self.0.iter().enumerate() {
            match verify(&**protocol, message) {
                Inbound::Plain(passed) => message = passed,
                Inbound::Verified { peer, message, binding, fresh } => {
                    let binding = ReplyBinding::new(Of(which, binding));
                    return Inbound::Verified { peer, message, binding, fresh };
                }
                other => return other,
            }
        }
        Inbound::Plain(message)
    }

    fn of_reply(&self, binding: ReplyBinding) -> Result<(&dyn MessageSecurity, ReplyBinding), ProtectError> {
        let Of(which, inner) = binding.into_inner::<Of<ReplyBinding>>().ok_or(ProtectError::ForeignBinding)?;
        Ok((&**self.0.get(which).ok_or(ProtectError::ForeignBinding)?, inner))
    }

    fn of_observation<'a>(
        &self,
        binding: &'a ObservationBinding,
    ) -> Option<(usize, &dyn MessageSecurity, &'a ObservationBinding)> {
        let Of(which, inner) = binding.inner::<Of<ObservationBinding>>()?;
        Some((*which, &**self.0.get(*which)?, inner))
    }
}

impl MessageSecurity for SecurityProtocols {
    fn unprotect(&self, outer: Message) -> Inbound {
        self.first(outer, |protocol, message| protocol.unprotect(message))
    }

    fn unprotect_again(&self, outer: Message) -> Inbound {
        self.first(outer, |protocol, message| protocol.unprotect_again(message))
    }

    fn unprotect_session(&self, session: SessionId, message: Message) -> Inbound {
        self.first(message, |protocol, message| protocol.unprotect_session(session, message))
    }

    fn knows_option(&self, number: u16) -> bool {
        self.0.iter().any(|protocol| protocol.knows_option(number))
    }

    fn protect(&self, response: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let (protocol, inner) = self.of_reply(binding)?;
        protocol.protect(response, inner)
    }

    fn observe(&self, binding: &ReplyBinding) -> Option<ObservationBinding> {
        let Of(which, inner) = binding.inner::<Of<ReplyBinding>>()?;
        let observation = self.0.get(*which)?.observe(inner)?;
        Some(ObservationBinding::new(Of(*which, observation)))
    }

    fn notify(&self, response: Message, binding: &ObservationBinding) -> Result<Message, ProtectError> {
        let (_, protocol, inner) = self.of_observation(binding).ok_or(ProtectError::ForeignBinding)?;
        protocol.notify(response, inner)
    }

    fn can_notify(&self, binding: &ObservationBinding) -> bool {
        self.of_observation(binding).is_none_or(|(_, protocol, inner)| protocol.can_notify(inner))
    }

    fn can_challenge(&self, binding: &ReplyBinding) -> bool {
        let of = binding.inner::<Of<ReplyBinding>>();
        of.is_some_and(|Of(which, inner)| self.0.get(*which).is_some_and(|protocol| protocol.can_challenge(inner)))
    }

    fn challenge(&self, binding: ReplyBinding) -> Result<Message, ProtectError> {
        let (protocol, inner) = self.of_reply(binding)?;
        protocol.challenge(inner)
    }

    fn protect_request(&self, peer: &PeerId, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
        let mut why = ProtectError::NoAssociation;
        for (which, protocol) in self.0.iter().enumerate() {
            match protocol.protect_request(peer, request) {
                Ok((message, sent)) => return Ok((message, SentRequest::new(Of(which, sent)))),
                Err(ProtectError::NoAssociation) => (),
                // Another protocol may know the peer: this one may have asked for a name that is not its own.
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn unprotect_response(&self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
        let Of(which, inner) = sent.inner_mut::<Of<SentRequest>>().ok_or(ResponseError::NotVerified)?;
        self.0.get(*which).ok_or(ResponseError::NotVerified)?.unprotect_response(response, inner)
    }

    fn keep(&self, binding: &ObservationBinding) -> Option<Vec<u8>> {
        let (which, protocol, inner) = self.of_observation(binding)?;
        let kept = protocol.keep(inner)?;
        let which = u8::try_from(which).ok().filter(|which| which & OF_SEVERAL == 0)?;
        Some([&[OF_SEVERAL | which], kept.as_slice()].concat())
    }

    fn resume(&self, kept: &[u8]) -> Option<ObservationBinding> {
        let (mark, kept) = kept.split_first()?;
        let which = usize::from(mark.checked_sub(OF_SEVERAL)?);
        let observation = self.0.get(which)?.resume(kept)?;
        Some(ObservationBinding::new(Of(which, observation)))
    }
}

impl core::fmt::Debug for SecurityProtocols {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecurityProtocols({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Options};
    use alloc::vec;

    /// Takes messages with this elective option, whose value is the peer's name; one that is `later` waits.
    struct Marked(u16);

    impl MessageSecurity for Marked {
        fn unprotect(&self, mut message: Message) -> Inbound {
            let Some(name) = message.options.first(self.0).map(<[u8]>::to_vec) else { return Inbound::Plain(message) };
            let peer = PeerId::new(&name);
            if name == b"later" {
                return Inbound::Later(peer, message);
            }
            message.options.remove(self.0);
            Inbound::Verified { peer, message, binding: ReplyBinding::new((self.0, name)), fresh: false }
        }

        fn unprotect_again(&self, message: Message) -> Inbound {
            match self.unprotect(message) {
                Inbound::Later(..) => Inbound::Discard,
                other => other,
            }
        }

        /// The session with the number of the option is this protocol's.
        fn unprotect_session(&self, session: SessionId, message: Message) -> Inbound {
            if session != SessionId(self.0.into()) {
                return Inbound::Plain(message);
            }
            let binding = ReplyBinding::new((self.0, b"in session".to_vec()));
            Inbound::Verified { peer: PeerId::new(b"in session"), message, binding, fresh: true }
        }

        fn protect(&self, mut message: Message, binding: ReplyBinding) -> Result<Message, ProtectError> {
            let (number, name) = binding.into_inner::<(u16, Vec<u8>)>().ok_or(ProtectError::ForeignBinding)?;
            assert_eq!(number, self.0, "it gets no other's binding");
            message.options.set(number, &name);
            Ok(message)
        }

        fn observe(&self, binding: &ReplyBinding) -> Option<ObservationBinding> {
            Some(ObservationBinding::new(binding.inner::<(u16, Vec<u8>)>()?.1.clone()))
        }

        fn notify(&self, mut message: Message, binding: &ObservationBinding) -> Result<Message, ProtectError> {
            message.options.set(self.0, binding.inner::<Vec<u8>>().ok_or(ProtectError::ForeignBinding)?);
            Ok(message)
        }

        fn can_notify(&self, _binding: &ObservationBinding) -> bool {
            self.0 == SECOND
        }

        fn can_challenge(&self, _binding: &ReplyBinding) -> bool {
            self.0 == SECOND
        }

        fn challenge(&self, binding: ReplyBinding) -> Result<Message, ProtectError> {
            self.protect(Message::response(Code::UNAUTHORIZED), binding)
        }

        /// The peer whose name is the option's number; the first protocol asks for a name that nobody knows.
        fn protect_request(&self, peer: &PeerId, request: &Message) -> Result<(Message, SentRequest), ProtectError> {
            match peer.as_bytes() {
                name if name == self.0.to_be_bytes() => Ok((request.clone(), SentRequest::new(self.0))),
                b"asked for" if self.0 == FIRST => Err(ProtectError::NeedSequence),
                _ => Err(ProtectError::NoAssociation),
            }
        }

        fn unprotect_response(&self, response: &Message, sent: &mut SentRequest) -> Result<Message, ResponseError> {
            let number = sent.inner_mut::<u16>().ok_or(ResponseError::NotVerified)?;
            assert_eq!(*number, self.0, "it gets no other's request");
            Ok(response.clone())
        }

        fn keep(&self, binding: &ObservationBinding) -> Option<Vec<u8>> {
            binding.inner::<Vec<u8>>().cloned()
        }

        fn resume(&self, kept: &[u8]) -> Option<ObservationBinding> {
            Some(ObservationBinding::new(kept.to_vec()))
        }
    }

    const FIRST: u16 = 65_000;
    const SECOND: u16 = 65_004;

    fn both() -> SecurityProtocols {
        SecurityProtocols::new([Arc::new(Marked(FIRST)) as Arc<dyn MessageSecurity>, Arc::new(Marked(SECOND))])
    }

    fn request(options: &[(u16, &[u8])]) -> Message {
        let mut message = Message::request(Code::GET);
        message.options = Options::default();
        options.iter().for_each(|(number, value)| message.options.push(*number, value));
        message
    }

    fn verified(inbound: Inbound) -> (PeerId, ReplyBinding) {
        match inbound {
            Inbound::Verified { peer, binding, message, .. } => {
                assert!(!message.options.has(FIRST), "it was taken off");
                (peer, binding)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_message_goes_to_its_protocol_and_so_does_the_answer() {
        let both = both();
        assert!(matches!(both.unprotect(request(&[])), Inbound::Plain(_)));
        for (number, can_challenge) in [(FIRST, false), (SECOND, true)] {
            let (peer, binding) = verified(both.unprotect(request(&[(number, b"a")])));
            assert_eq!(peer, PeerId::new(b"a"));
            assert_eq!(both.can_challenge(&binding), can_challenge);
            let observation = both.observe(&binding).unwrap();
            assert_eq!(both.can_notify(&observation), number == SECOND);
            let answer = both.protect(Message::response(Code::CONTENT), binding).unwrap();
            assert_eq!(answer.options.first(number), Some(&b"a"[..]));
            let kept = both.keep(&observation).unwrap();
            let resumed = both.resume(&kept).unwrap();
            for observation in [&observation, &resumed] {
                let notified = both.notify(Message::response(Code::CONTENT), observation).unwrap();
                assert_eq!(notified.options.first(number), Some(&b"a"[..]));
            }
            let (_, binding) = verified(both.unprotect(request(&[(number, b"a")])));
            assert_eq!(both.challenge(binding).unwrap().options.first(number), Some(&b"a"[..]));
        }
        // Where both could take it, the first does.
        let (peer, _) = verified(both.unprotect(request(&[(FIRST, b"1"), (SECOND, b"2")])));
        assert_eq!(peer, PeerId::new(b"1"));
    }

    #[test]
    fn a_session_is_its_protocols() {
        let both = both();
        for number in [FIRST, SECOND] {
            let session = SessionId(number.into());
            let (peer, binding) = verified(both.unprotect_session(session, request(&[])));
            assert_eq!(peer, PeerId::new(b"in session"));
            assert!(both.protect(Message::response(Code::CONTENT), binding).unwrap().options.has(number));
        }
        assert!(matches!(both.unprotect_session(SessionId(1), request(&[])), Inbound::Plain(_)));
    }

    #[test]
    fn a_peer_is_asked_by_the_protocol_that_knows_it() {
        let both = both();
        let request = Message::request(Code::GET);
        for number in [FIRST, SECOND] {
            let (_, mut sent) = both.protect_request(&PeerId::new(&number.to_be_bytes()), &request).unwrap();
            let answer = Message::response(Code::CONTENT);
            assert_eq!(both.unprotect_response(&answer, &mut sent), Ok(answer));
        }
        let why = |name: &[u8]| both.protect_request(&PeerId::new(name), &request).unwrap_err();
        assert_eq!(why(b"nobody"), ProtectError::NoAssociation);
        assert_eq!(why(b"asked for"), ProtectError::NeedSequence);
        let mut foreign = SentRequest::new(1_u8);
        assert_eq!(both.unprotect_response(&request, &mut foreign), Err(ResponseError::NotVerified));
    }

    #[test]
    fn what_has_to_wait_waits_and_foreign_bindings_do_nothing() {
        let both = both();
        let Inbound::Later(peer, message) = both.unprotect(request(&[(SECOND, b"later")])) else { panic!() };
        assert_eq!(peer, PeerId::new(b"later"));
        assert!(matches!(both.unprotect_again(message), Inbound::Discard));
        let foreign = || ReplyBinding::new(vec![1_u8]);
        let answer = Message::response(Code::CONTENT);
        assert_eq!(both.protect(answer.clone(), foreign()), Err(ProtectError::ForeignBinding));
        assert_eq!(both.challenge(foreign()), Err(ProtectError::ForeignBinding));
        assert!(both.observe(&foreign()).is_none() && !both.can_challenge(&foreign()));
        let foreign = ObservationBinding::new(1_u8);
        assert_eq!(both.notify(answer, &foreign), Err(ProtectError::ForeignBinding));
        assert!(both.keep(&foreign).is_none());
        assert!(both.resume(&[]).is_none() && both.resume(&[1, 2]).is_none(), "one alone has kept that");
        assert!(both.resume(&[0x81, 2]).is_some() && both.resume(&[0x82, 2]).is_none(), "there is no third one");
    }
}
