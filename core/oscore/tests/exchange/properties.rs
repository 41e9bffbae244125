//! What holds for all messages, and for any bytes.

use super::{accept, client, get, server};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Token, Type};
use ace_oscore::{Error, OscoreOption};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_request_comes_back(
        code in 1_u8..=7,
        options in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        token in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let (mut client, mut server) = (client(), server());
        let mut request = Message::new(Type::NonConfirmable, Code(code), 77, Token::new(&token));
        for (number, value) in &options {
            // An Echo value that was never sent is challenged.
            if ![option::OSCORE, option::PROXY_URI, option::ECHO].contains(number) {
                request.options.push(*number, value);
            }
        }
        request.payload = payload;
        let (protected, _) = client.protect_request(&request).unwrap();
        let sent = Message::decode(&protected.encode()).unwrap();
        let (message, ..) = accept(&mut server, &sent);
        // Options of class U and E may change places relative to each other only within one number.
        prop_assert_eq!(message, request);
    }

    #[test]
    fn any_option_value_decodes_or_fails(value in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(option) = OscoreOption::decode(&value) {
            prop_assert_eq!(option.encode().unwrap(), value);
        }
    }

    #[test]
    fn any_change_of_a_protected_request_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (mut client, mut server) = (client(), server());
        let (mut protected, _) = client.protect_request(&get()).unwrap();
        let at = at.index(protected.payload.len());
        protected.payload[at] ^= 1 << bit;
        prop_assert_eq!(server.unprotect_request(&protected).unwrap_err(), Error::Decryption);
    }
}
