//! The decoders of ace-groupcomm-messages.

#[path = "../../messages/tests/any_bytes/decoders.rs"]
mod decoders;

/// Gives the bytes to every decoder of messages.
pub fn messages(bytes: &[u8]) {
    decoders::every_decoder(bytes);
}
