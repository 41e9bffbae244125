//! The security context (RFC 8613 section 3).

use crate::algorithm::info;
use crate::{Aead, Error, Hkdf, PartialIv, ReplayWindow, Sequence};
use alloc::vec::Vec;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What two endpoints agree on beforehand (RFC 8613 section 3.2); their keys are derived from it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Parameters {
    /// The Master Secret, any length.
    pub master_secret: Vec<u8>,
    /// The Master Salt; empty where none is used.
    pub master_salt: Vec<u8>,
    /// The Sender ID: under it this endpoint protects.
    pub sender_id: Vec<u8>,
    /// The Recipient ID: under it the other one protects.
    pub recipient_id: Vec<u8>,
    /// The ID Context. Absent and empty give different keys.
    pub id_context: Option<Vec<u8>>,
    /// The AEAD algorithm.
    #[zeroize(skip)]
    pub aead: Aead,
    /// The key derivation function.
    #[zeroize(skip)]
    pub hkdf: Hkdf,
}

impl core::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Parameters")
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("id_context", &self.id_context)
            .field("aead", &self.aead)
            .field("hkdf", &self.hkdf)
            .finish_non_exhaustive()
    }
}

/// What a server knows about the requests that it has seen under a context.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The window, where this process alone has owned the context since it was made, or since a client proved by
    /// Echo that its request is new. Only then may a response use the nonce of its request. Without it requests
    /// wait for an Echo (RFC 8613 appendix B.1.2).
    pub(crate) window: Option<ReplayWindow>,
    /// The Echo value that was sent and that no request has answered yet.
    pub(crate) sent: Option<Vec<u8>>,
    /// The one that was answered last: a client may repeat it.
    pub(crate) answered: Option<Vec<u8>>,
    /// Whether that was answered so short ago that who repeats it still shows that its request is new: two requests that were asked
    /// for one value at the same time.
    pub(crate) answered_of_late: bool,
    /// Another process may have acted on requests that are in front of the window: those alone are taken that carry
    /// an Echo value of this process.
    pub(crate) taken_over: bool,
}

/// A security context: the keys for both directions, the sequence numbers, and the replay window.
///
/// The same context serves both roles. It is not `Clone`: two copies would use one nonce twice.
pub struct Context {
    pub(crate) aead: Aead,
    pub(crate) id_context: Option<Vec<u8>>,
    pub(crate) common_iv: Vec<u8>,
    pub(crate) sender_id: Vec<u8>,
    pub(crate) sender_key: Zeroizing<Vec<u8>>,
    pub(crate) recipient_id: Vec<u8>,
    pub(crate) recipient_key: Zeroizing<Vec<u8>>,
    pub(crate) sequence: Sequence,
    pub(crate) replay: Replay,
}

impl core::fmt::Debug for Context {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("id_context", &self.id_context)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Derives the context that was never used before: nothing was received under it.
    ///
    /// # Errors
    /// [`Error::Parameter`] when an ID is longer than the algorithm allows, or both IDs are the same (they
    /// would give both directions one key).
    pub fn fresh(parameters: &Parameters, sequence: Sequence) -> Result<Self, Error> {
        Self::derive(parameters, sequence, Some(ReplayWindow::new()))
    }

    /// Derives the context that was used before, by a process that no longer is: what was received under
    /// it is not known, so that as a server it challenges with Echo first.
    ///
    /// # Errors
    /// As [`Self::fresh`].
    pub fn restored(parameters: &Parameters, sequence: Sequence) -> Result<Self, Error> {
        Self::derive(parameters, sequence, None)
    }

    fn derive(parameters: &Parameters, sequence: Sequence, window: Option<ReplayWindow>) -> Result<Self, Error> {
        let aead = parameters.aead;
        let max = aead.max_id_len();
        if parameters.sender_id.len() > max
            || parameters.recipient_id.len() > max
            || parameters.sender_id == parameters.recipient_id
        {
            return Err(Error::Parameter);
        }
        let derive = |id: &[u8], kind: &str, length: usize| -> Result<Zeroizing<Vec<u8>>, Error> {
            let info = info(id, parameters.id_context.as_deref(), aead, kind, length);
            let mut out = Zeroizing::new(alloc::vec![0; length]);
            parameters
                .hkdf
                .derive(&parameters.master_salt, &parameters.master_secret, &info, &mut out)
                .ok_or(Error::Parameter)?;
            Ok(out)
        };
        Ok(Self {
            aead,
            id_context: parameters.id_context.clone(),
            common_iv: derive(&[], "IV", aead.nonce_len())?.to_vec(),
            sender_key: derive(&parameters.sender_id, "Key", aead.key_len())?,
            recipient_key: derive(&parameters.recipient_id, "Key", aead.key_len())?,
            sender_id: parameters.sender_id.clone(),
            recipient_id: parameters.recipient_id.clone(),
            sequence,
            replay: Replay { window, ..Replay::default() },
        })
    }

    /// The sequence numbers; give the next block here.
    pub const fn sequence(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Forgets which requests were seen, because another process has seen others: from now on requests wait for
    /// an Echo, as under [`Self::restored`]. Sequence numbers go on.
    pub fn forget_window(&mut self) {
        self.replay = Replay::default();
    }

    /// Another process owned the context until now, while the last Echo value of this one was on its way. What
    /// carries that value the other one has not acted on. But it may have acted on anything else, later requests
    /// included: those wait for one more Echo.
    pub const fn take_over(&mut self) {
        self.replay.taken_over = true;
    }

    /// Whether it is known which requests were seen: a new one is accepted then.
    #[must_use]
    pub const fn is_synchronised(&self) -> bool {
        self.replay.window.is_some()
    }

    /// Forgets the Echo value that was sent: a request with it came too late to be taken for new. The next challenge
    /// has another one.
    pub fn forget_challenge(&mut self) {
        (self.replay.sent, self.replay.answered_of_late) = (None, false);
    }

    /// Returns the Sender ID, under which this endpoint protects.
    #[must_use]
    pub fn sender_id(&self) -> &[u8] {
        &self.sender_id
    }

    /// The Recipient ID, the kid in the other endpoint's requests.
    #[must_use]
    pub fn recipient_id(&self) -> &[u8] {
        &self.recipient_id
    }

    /// Returns the ID Context, where there is one.
    #[must_use]
    pub fn id_context(&self) -> Option<&[u8]> {
        self.id_context.as_deref()
    }

    /// The nonce for a Partial IV that the endpoint with this ID chose (RFC 8613 section 5.2).
    pub(crate) fn nonce(&self, id: &[u8], partial_iv: PartialIv) -> Vec<u8> {
        // Both were checked when the context was derived; with an empty one nothing is encrypted.
        self.aead.nonce(&self.common_iv, id, partial_iv).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
