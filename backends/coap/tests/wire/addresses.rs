//! A server on all addresses of its host answers from the one that was asked (RFC 7252 section 5.3.2).

use crate::lab::{Lab, get, of};
use ace_backend_coap::Limits;
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Type};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;

/// A socket that takes datagrams from anywhere.
struct Open(UdpSocket);

impl Open {
    async fn new(address: &str) -> Self {
        Self(UdpSocket::bind(address).await.unwrap())
    }

    async fn receive(&self) -> (Message, IpAddr) {
        let mut buffer = vec![0; 2_048];
        let received = tokio::time::timeout(Duration::from_secs(3), self.0.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("nothing comes").unwrap();
        (Message::decode(&buffer[..length]).unwrap(), from.ip())
    }

    async fn ask(&self, to: SocketAddr, message: &Message) -> (Message, IpAddr) {
        self.0.send_to(&message.encode(), to).await.unwrap();
        self.receive().await
    }
}

async fn all_that_is_sent(any: &str, own: &[&str], client: &str) {
    let limits = Limits {
        separate_after: Duration::from_millis(50),
        ack_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let (lab, _) = Lab::resuming(any.parse().unwrap(), limits, &[]).await;
    let raw = Open::new(client).await;
    for address in own {
        let ip: IpAddr = address.parse().unwrap();
        let to = SocketAddr::new(ip, lab.address.port());
        // An answer on the acknowledgement, one by itself, a reset.
        let (answer, from) = raw.ask(to, &get(1, "count")).await;
        assert_eq!((answer.kind, from), (Type::Acknowledgement, ip));
        let (answer, from) = raw.ask(to, &Message { kind: Type::NonConfirmable, ..get(2, "count") }).await;
        assert_eq!((answer.kind, from), (Type::NonConfirmable, ip));
        let (reset, from) = raw.ask(to, &Message::empty(Type::Confirmable, 3)).await;
        assert_eq!((reset.kind, from), (Type::Reset, ip));
        // An acknowledgement, the separate answer behind it, and that again.
        let slow = crate::lab::wrap(&of(b"a", get(4, "slow")));
        let (empty, from) = raw.ask(to, &slow).await;
        assert_eq!((empty.code, empty.kind, from), (Code::EMPTY, Type::Acknowledgement, ip));
        lab.resources.release();
        let (first, from) = raw.receive().await;
        let (again, from_again) = raw.receive().await;
        assert_eq!((first.kind, from), (Type::Confirmable, ip));
        assert_eq!((&again, from_again), (&first, ip), "retransmitted");
        raw.0.send_to(&Message::empty(Type::Acknowledgement, first.id).encode(), to).await.unwrap();
        // A notification.
        let mut register = of(b"a", get(5, "state"));
        register.options.push(option::OBSERVE, &[]);
        let (answer, from) = raw.ask(to, &crate::lab::wrap(&register)).await;
        assert_eq!((answer.kind, from), (Type::Acknowledgement, ip));
        lab.resources.change();
        let (told, from) = raw.receive().await;
        assert_eq!((told.kind, from), (Type::Confirmable, ip), "a notification");
        raw.0.send_to(&Message::empty(Type::Reset, told.id).encode(), to).await.unwrap();
    }
}

#[tokio::test]
async fn on_all_addresses_of_ipv4_it_answers_from_the_one_that_was_asked() {
    all_that_is_sent("0.0.0.0:0", &["127.0.0.1", "127.0.0.2", "127.255.0.7"], "127.0.0.1:0").await;
}

/// Set in the network namespace that the test below makes.
const INSIDE: &str = "ACE_TWO_ADDRESSES";

#[tokio::test]
async fn on_all_addresses_of_ipv6_it_answers_from_the_one_that_was_asked() {
    if std::env::var_os(INSIDE).is_some() {
        return all_that_is_sent("[::]:0", &["::1", "fd00::1", "fd00::2"], "[::1]:0").await;
    }
    all_that_is_sent("[::]:0", &["::1"], "[::1]:0").await;
    // Loopback has one address; in a network namespace of its own this test gives it more, and runs again there.
    let own = std::env::current_exe().unwrap();
    let again = "addresses::on_all_addresses_of_ipv6_it_answers_from_the_one_that_was_asked";
    let script = "ip link set lo up && ip addr add fd00::1/128 dev lo nodad && ip addr add fd00::2/128 dev lo nodad \
                  || exit 77; exec \"$@\"";
    let mut command = tokio::process::Command::new("unshare");
    command.args(["-rn", "sh", "-c", script, "sh"]).arg(own).args(["--exact", again]).env(INSIDE, "1");
    match command.output().await {
        Ok(output) if output.status.success() => {
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(told.contains("1 passed"), "{told}");
        }
        Ok(output) if output.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
        _ => eprintln!("\n!!! NO NETWORK NAMESPACE HERE: ONE IPV6 ADDRESS ALONE WAS TRIED\n"),
    }
}

#[tokio::test]
async fn one_port_can_be_had_on_all_addresses_of_both() {
    let (four, _) = Lab::resuming("0.0.0.0:0".parse().unwrap(), Limits::default(), &[]).await;
    let port = four.address.port();
    let (six, _) = Lab::resuming(format!("[::]:{port}").parse().unwrap(), Limits::default(), &[]).await;
    let raw = Open::new("127.0.0.1:0").await;
    raw.ask(SocketAddr::from(([127, 0, 0, 1], port)), &get(1, "count")).await;
    let raw = Open::new("[::1]:0").await;
    raw.ask(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1_u16], port)), &get(1, "count")).await;
    assert_eq!((*four.resources.count.lock().unwrap(), *six.resources.count.lock().unwrap()), (1, 1));
}
