//! Bindings carry what a security protocol puts in, once.

use ace_coap::security::{
    Inbound, MessageSecurity, ObservationBinding, PeerId, ProtectError, ReplyBinding, Unprotected,
};
use ace_coap::{Code, Message};

#[test]
fn bindings_give_back_what_was_put_in() {
    let binding = ReplyBinding::new(7_u32);
    assert_eq!((binding.inner::<u32>(), binding.inner::<u8>()), (Some(&7), None));
    assert_eq!(binding.into_inner::<u32>(), Some(7));
    assert_eq!(ReplyBinding::new(7_u32).into_inner::<u8>(), None);
    let observation = ObservationBinding::new("x");
    assert_eq!((observation.inner::<&str>(), observation.inner::<u8>()), (Some(&"x"), None));
    assert_eq!(format!("{:?} {:?}", ReplyBinding::new(1_u8), observation), "ReplyBinding ObservationBinding");
    assert_eq!(
        (PeerId::new(&[1, 0xab]).as_bytes(), format!("{:?}", PeerId::new(&[1, 0xab]))),
        (&[1, 0xab][..], "01ab".into())
    );
}

#[test]
fn without_protection_everything_is_passed_on() {
    let message = Message::request(Code::GET);
    assert!(matches!(Unprotected.unprotect(message.clone()), Inbound::Plain(same) if same == message));
    let protected = Unprotected.protect(message.clone(), ReplyBinding::new(()));
    assert_eq!(protected, Err(ProtectError::ForeignBinding));
    assert!(Unprotected.observe(&ReplyBinding::new(())).is_none());
    assert_eq!(Unprotected.notify(message, &ObservationBinding::new(())), Err(ProtectError::ForeignBinding));
}
