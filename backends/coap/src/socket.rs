//! A UDP socket that knows at which of its addresses a datagram came in, and answers from there (RFC 7252 section 5.3.2):
//! a socket on `0.0.0.0` or `[::]` has many.

use ace_coap::security::SessionId;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams that are received at once.
const BATCH: usize = 8;
/// Bytes of a buffer: the largest datagram, or several that the kernel has put together.
const BUFFER: usize = 65_536;

/// Both ends of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AddressPair {
    /// The other side's address and port.
    pub remote: SocketAddr,
    /// The address of ours that it uses, where the operating system tells.
    pub local: Option<IpAddr>,
    /// The session that it is in, where a protocol below CoAP protects it ([`DatagramSecurity`](crate::DatagramSecurity)).
    pub session: Option<SessionId>,
}

/// Which address of ours is used is not known, and there is no session.
impl From<SocketAddr> for AddressPair {
    fn from(remote: SocketAddr) -> Self {
        Self { remote, local: None, session: None }
    }
}

/// The socket.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

/// Where received datagrams are put.
pub(crate) struct Buffers(Vec<u8>);

impl Buffers {
    pub(crate) fn new() -> Self {
        Self(vec![0; BATCH.saturating_mul(BUFFER)])
    }
}

impl Socket {
    /// Binds a socket. One on `[::]` takes IPv6 alone, so that another one can have `0.0.0.0` with the same port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        Ok(Self { io, state })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives what there is, up to a batch; how many datagrams came. None are left where it is an error of the kind
    /// [`io::ErrorKind::WouldBlock`].
    pub(crate) fn receive(&self, buffers: &mut Buffers, mut each: impl FnMut(AddressPair, &[u8])) -> io::Result<usize> {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.0.chunks_exact_mut(BUFFER).map(IoSliceMut::new).collect();
        let mut metas = [RecvMeta::default(); BATCH];
        let receive = || self.state.recv((&self.io).into(), &mut slices, &mut metas);
        let filled = self.io.try_io(Interest::READABLE, receive)?;
        let mut count = 0_usize;
        for (meta, buffer) in metas.iter().zip(buffers.0.chunks_exact(BUFFER)).take(filled) {
            let pair = AddressPair { remote: meta.addr, local: meta.dst_ip, session: None };
            let bytes = buffer.get(..meta.len).unwrap_or_default();
            // An empty datagram has no stride.
            for datagram in bytes.chunks(meta.stride.max(1)) {
                each(pair, datagram);
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// Sends a datagram from the address that the other side uses.
    pub(crate) async fn send(&self, to: AddressPair, bytes: &[u8]) -> io::Result<()> {
        let transmit =
            Transmit { destination: to.remote, ecn: None, contents: bytes, segment_size: None, src_ip: to.local };
        self.io.async_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit)).await
    }
}
