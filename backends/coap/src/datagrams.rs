//! What protects datagrams below CoAP, as DTLS does it.

use crate::endpoint::Transmit;
use crate::socket::AddressPair;
use ace_coap::security::SessionId;
use std::time::Duration;

/// Protects datagrams below CoAP, without I/O: sessions begin by handshakes, and each message comes and goes in one.
///
/// Whoever implements it implements [`MessageSecurity`](ace_coap::security::MessageSecurity) too, by the same table of sessions: its
/// `unprotect_session` says which association, and so which peer, a session is of, and what it protects it leaves as it is. An
/// [`Endpoint`](crate::Endpoint) has one of them ([`with_datagram_security`](crate::Endpoint::with_datagram_security)), and takes
/// nothing then that did not come in a session. What a service wants to go out unprotected goes in the session, too.
pub trait DatagramSecurity: Send {
    /// Takes in a datagram: a part of a handshake, or protected messages, which go into `messages` with the sessions that they came
    /// in. What does not verify, or came before, is dropped.
    fn receive(&mut self, now: Duration, from: AddressPair, datagram: &[u8], messages: &mut Vec<(SessionId, Vec<u8>)>);

    /// Protects a message of this session, and says where it goes: a peer may have moved. `None` where there is no such session.
    fn protect(&mut self, now: Duration, session: SessionId, message: Transmit) -> Option<Transmit>;

    /// Takes the next datagram of a handshake; `None` where none waits.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// The moment at which [`Self::timeout`] has to be called; `None` where nothing will be due.
    fn next_timeout(&self) -> Option<Duration> {
        None
    }

    /// Does what is due: sends a part of a handshake again, gives one up.
    fn timeout(&mut self, _now: Duration) {}
}
