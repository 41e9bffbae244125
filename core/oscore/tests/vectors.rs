//! RFC 8613 appendix C.4 to C.8, byte for byte.

use ace_coap::Message;
use ace_oscore::{Aead, Context, Hkdf, Incoming, Parameters, Sequence};

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn parameters(salt: &str, sender: &str, recipient: &str, context: Option<&str>) -> Parameters {
    Parameters {
        master_secret: bytes("0102030405060708090a0b0c0d0e0f10"),
        master_salt: bytes(salt),
        sender_id: bytes(sender),
        recipient_id: bytes(recipient),
        id_context: context.map(bytes),
        aead: Aead::default(),
        hkdf: Hkdf::default(),
    }
}

/// Client and server of one vector, the client at sequence number 20, the server at 0.
fn pair(salt: &str, client: &str, server: &str, context: Option<&str>) -> (Context, Context) {
    (
        Context::fresh(&parameters(salt, client, server, context), Sequence::block(20, 100)).unwrap(),
        Context::fresh(&parameters(salt, server, client, context), Sequence::block(0, 100)).unwrap(),
    )
}

// Covers: OS-4-01, OS-4-03, OS-4.1.1-01, OS-4.1.2-01, OS-4.1.2-02, OS-4.2-01, OS-4.2-02,
// Covers: OS-4.2-05, OS-4.2-06, OS-5-01, OS-5-03, OS-5-04, OS-5-05, OS-5.4-01, OS-5.4-02, OS-6.2-01, OS-8.1-01,
// Covers: OS-8.2-01
// Covers: TH-8-02/sent-if-given
#[test]
fn requests_of_c4_c5_and_c6() {
    let salt = "9e7ca92223786340";
    for (salt, client, server, context, plain, protected) in [
        (
            salt,
            "",
            "01",
            None,
            "44015d1f00003974396c6f63616c686f737483747631",
            "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e",
        ),
        (
            "",
            "00",
            "01",
            None,
            "440171c30000b932396c6f63616c686f737483747631",
            "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0",
        ),
        (
            salt,
            "",
            "01",
            Some("37cbf3210017a2d3"),
            "44012f8eef9bbf7a396c6f63616c686f737483747631",
            "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff72cd7273fd331ac45cffbe55c3",
        ),
    ] {
        let (mut client, mut server) = pair(salt, client, server, context);
        let request = Message::decode(&bytes(plain)).unwrap();
        let (message, _) = client.protect_request(&request).unwrap();
        assert_eq!(hex::encode(message.encode()), protected);

        let received = Message::decode(&bytes(protected)).unwrap();
        let Incoming::Accepted { message, echoed, .. } = server.unprotect_request(&received).unwrap() else {
            panic!("a fresh context accepts");
        };
        assert_eq!(hex::encode(message.encode()), plain);
        assert!(!echoed);
    }
}

// Covers: OS-2-03, OS-4.2-07, OS-8.3-01, OS-8.3-02, OS-8.3-03, OS-8.4-01
// Covers: OS-4.2-03
#[test]
fn responses_of_c7_and_c8() {
    let request = bytes("44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e");
    let plain = "64455d1f00003974ff48656c6c6f20576f726c6421";
    for (numbered, protected) in [
        (false, "64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106"),
        (true, "64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e"),
    ] {
        let (mut client, mut server) = pair("9e7ca92223786340", "", "01", None);
        let asked = Message::decode(&bytes("44015d1f00003974396c6f63616c686f737483747631")).unwrap();
        let (sent, mut pending) = client.protect_request(&asked).unwrap();
        assert_eq!(sent.encode(), request);
        let Incoming::Accepted { right, .. } = server.unprotect_request(&Message::decode(&request).unwrap()).unwrap()
        else {
            panic!("a fresh context accepts");
        };
        let right = if numbered { right.numbered() } else { right };
        let response = Message::decode(&bytes(plain)).unwrap();
        let message = server.protect_response(&response, right).unwrap();
        assert_eq!(hex::encode(message.encode()), protected);
        let received = Message::decode(&bytes(protected)).unwrap();
        let message = client.unprotect_response(&received, &mut pending).unwrap();
        assert_eq!(hex::encode(message.encode()), plain);
    }
}
