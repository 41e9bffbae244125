//! Notifications of an observation (RFC 8613 sections 4.1.3.5.2 and 8.3.1).

use crate::protect::{Exchange, ResponseRight, with_empty_observe};
use crate::{Context, Error};
use ace_coap::Message;
use alloc::vec::Vec;

/// What a server keeps of a registration, so that it can protect notifications. Each has a Partial IV of
/// its own, so this can be used as often as there are sequence numbers.
#[derive(Clone)]
pub struct NotificationRight(Exchange);

impl core::fmt::Debug for NotificationRight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NotificationRight")
    }
}

impl NotificationRight {
    /// As bytes, which may outlive the process. They are no secret: what they hold was in the request's OSCORE option.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.aad.clone()
    }

    /// The right again. Notifications protected with it verify where the bytes are those of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // The nonce of the request is for the first response alone.
        Self(Exchange { aad: bytes.to_vec(), nonce: Vec::new() })
    }
}

impl ResponseRight {
    /// The right to notify the sender of this request, which registers as an observer. This right stays good for the first response.
    #[must_use]
    pub fn notification_right(&self) -> NotificationRight {
        NotificationRight(self.exchange.clone())
    }

    /// Makes the response carry a Partial IV of its own. Needed where another process may answer the
    /// same request, whose nonce must then not be used.
    #[must_use]
    pub const fn numbered(mut self) -> Self {
        self.own = false;
        self
    }
}

impl Context {
    /// Protects a notification, or the error that ends an observation. The inner Observe option of a
    /// notification is sent empty; its order is that of the Partial IVs.
    ///
    /// # Errors
    /// [`Error::NeedSequence`], [`Error::Exhausted`], [`Error::Unprotectable`].
    pub fn protect_notification(
        &mut self,
        response: &Message,
        registration: &NotificationRight,
    ) -> Result<Message, Error> {
        with_empty_observe(response, |response| self.protect_response_numbered(response, &registration.0))
    }
}
