//! A member's driver, where those whom it talks with are not there.

use ace_backend_aws_lc::AwsLc;
use ace_backend_tokio::{Clock, MemberDriver, MemberHooks, MemberRunError, MemberServer, MemberServers, MemberStore};
use ace_groupcomm::Now;
use ace_groupcomm::member::{ExchangeError, Member, MemberError, Operation, Setup, State};
use ace_groupcomm::testkit::build::{AUDIENCE, TestClient};
use ace_groupcomm::testkit::toy;
use ace_groupcomm::traits::crypto::Identity;
use ace_oscore::{Aead, Hkdf, Parameters};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// A store that counts how often it is asked to save.
struct Counting(u32);

impl MemberStore for Counting {
    type Error = std::convert::Infallible;

    fn save(&mut self, _state: State) -> Result<(), Self::Error> {
        self.0 += 1;
        Ok(())
    }
}

fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn driver() -> MemberDriver<Counting> {
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let setup = Setup {
        audience: AUDIENCE.into(),
        rules: Arc::new(toy::ToyMember {
            gname: "g1".into(),
            roles: toy::TALKER,
            identity: Identity { cred: client.key.public().to_vec(), key: client.key },
            crypto: Arc::new(AwsLc),
        }),
        transport: Arc::new(toy::ToyClient),
        control_uri: None,
    };
    let registration = Parameters {
        master_secret: vec![7; 16],
        master_salt: vec![],
        sender_id: vec![1],
        recipient_id: vec![2],
        id_context: None,
        aead: Aead::AesCcm16_64_128,
        hkdf: Hkdf::Sha256,
    };
    let servers =
        MemberServers { auth_server: nobody(), registration, kdc: nobody(), control: None, association: |_, _| None };
    let clock = Clock::new(|| Now::new(1_000_000, Duration::ZERO));
    MemberDriver::new(Member::new(setup, State::default()), Counting(0), servers, clock)
}

#[tokio::test]
async fn an_as_that_is_not_there_is_told_and_nothing_is_saved() {
    let mut driver = driver();
    let mut seen = Vec::new();
    let mut observer = |exchange: ace_backend_tokio::SeenExchange<'_>| {
        seen.push((exchange.server, exchange.protected, exchange.path.to_vec(), exchange.received.is_some()));
    };
    let hooks = MemberHooks { observer: &mut observer, hand_out: &mut |_| true };
    let result = driver.run(Operation::Token, hooks).await;
    let Err(MemberRunError::Member(MemberError::Exchange(ExchangeError::Silent(_)))) = result else {
        panic!("{result:?}")
    };
    assert_eq!(seen, [(MemberServer::AuthServer, true, vec!["token".to_owned()], false)]);
    assert_eq!(driver.engine().token(), None);
    assert_eq!(driver.into_store().0, 0);
}

#[tokio::test]
async fn what_cannot_be_done_yet_is_told_before_anything_is_sent() {
    let mut driver = driver();
    let mut observer = |_: ace_backend_tokio::SeenExchange<'_>| panic!("nothing can be sent");
    for operation in [Operation::Join, Operation::Keys] {
        let hooks = MemberHooks { observer: &mut observer, hand_out: &mut |_| true };
        assert!(matches!(driver.run(operation, hooks).await, Err(MemberRunError::Member(_))));
    }
}
