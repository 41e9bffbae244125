//! A server that does what a test tells it.

use ace_backend_coap::{Client, Limits};
use ace_coap::{Code, Message, Type};
use ace_oscore::{Aead, Context, Hkdf, Incoming, Parameters, ResponseRight, Sequence};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;

pub(crate) fn context(sender: u8, recipient: u8) -> Context {
    let parameters = Parameters {
        master_secret: vec![1; 16],
        master_salt: vec![],
        sender_id: vec![sender],
        recipient_id: vec![recipient],
        id_context: None,
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    };
    Context::fresh(&parameters, Sequence::all()).unwrap()
}

/// The other end of a client's socket.
pub(crate) struct Other {
    pub(crate) socket: UdpSocket,
    pub(crate) from: SocketAddr,
    pub(crate) next_id: u16,
}

impl Other {
    pub(crate) async fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let from = socket.local_addr().unwrap();
        Self { socket, from, next_id: 0 }
    }

    pub(crate) async fn client(&self, limits: Limits) -> Client {
        Client::connect(self.socket.local_addr().unwrap(), limits, 5).await.unwrap()
    }

    pub(crate) async fn receive(&mut self) -> Message {
        let mut buffer = vec![0; 2_048];
        let received = tokio::time::timeout(Duration::from_secs(5), self.socket.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("nothing comes").unwrap();
        self.from = from;
        Message::decode(&buffer[..length]).unwrap()
    }

    /// What comes within this time, if anything does.
    pub(crate) async fn next(&self, time: Duration) -> Option<Message> {
        let mut buffer = vec![0; 2_048];
        let length = tokio::time::timeout(time, self.socket.recv(&mut buffer)).await.ok()?.unwrap();
        Some(Message::decode(&buffer[..length]).unwrap())
    }

    pub(crate) async fn send(&self, message: &Message) {
        self.socket.send_to(&message.encode(), self.from).await.unwrap();
    }

    /// On the acknowledgement of this request.
    pub(crate) async fn answer(&self, request: &Message, mut answer: Message) {
        (answer.kind, answer.id, answer.token) = (Type::Acknowledgement, request.id, request.token.clone());
        self.send(&answer).await;
    }

    /// In a confirmable message of its own, which has to be acknowledged; the answer to it.
    pub(crate) async fn separate(&mut self, request: &Message, mut answer: Message) -> Message {
        self.next_id += 1;
        (answer.kind, answer.id, answer.token) = (Type::Confirmable, self.next_id, request.token.clone());
        self.send(&answer).await;
        let reply = self.receive().await;
        assert_eq!(reply.id, self.next_id);
        reply
    }
}

pub(crate) fn quick() -> Limits {
    Limits {
        ack_timeout: Duration::from_millis(50),
        response_timeout: Duration::from_millis(600),
        unprotected_wait: Duration::from_millis(100),
        ..Limits::default()
    }
}

pub(crate) fn content(payload: &[u8]) -> Message {
    Message { payload: payload.to_vec(), ..Message::response(Code::CONTENT) }
}

pub(crate) fn get() -> Message {
    Message::request(Code::GET).with_path(["x"])
}

pub(crate) fn open(server: &mut Context, request: &Message) -> (Message, ResponseRight) {
    match server.unprotect_request(request).unwrap() {
        Incoming::Accepted { message, right, .. } => (message, right),
        Incoming::Unsynchronised(_) => panic!("the window is known"),
    }
}
