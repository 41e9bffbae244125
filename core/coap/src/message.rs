//! A CoAP message over UDP, from and to bytes (RFC 7252 section 3, tokens as in RFC 8974).

use crate::{Code, Options};
use alloc::vec::Vec;
use thiserror::Error;

/// Longest token that a request is served with. A longer one is read and answered with an error (RFC 8974 section 2.1).
pub const MAX_TOKEN: usize = 64;
/// Longest token that there can be (RFC 8974 section 2.1).
const LONGEST_TOKEN: usize = 65_804;
/// Most options in one message that are read, so that a datagram cannot ask for large tables.
pub const MAX_OPTIONS: usize = 256;

/// The type of a message (RFC 7252 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// CON: to be acknowledged, else it is sent again.
    Confirmable,
    /// Not to be acknowledged.
    NonConfirmable,
    /// Acknowledges a confirmable message.
    Acknowledgement,
    /// The message could not be processed.
    Reset,
}

impl Type {
    const fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// A token that ties a response to its request.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Token(Vec<u8>);

impl Token {
    /// A token of these bytes, cut where no message could have a longer one.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.get(..LONGEST_TOKEN).unwrap_or(bytes).to_vec())
    }

    /// Returns its bytes, at most [`MAX_TOKEN`] in a request that is served.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// One CoAP message. Its payload may hold keys: Debug shows how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The type: confirmable, non-confirmable, acknowledgement or reset.
    pub kind: Type,
    /// The method of a request, or the code of a response.
    pub code: Code,
    /// The message ID, by which duplicates are known.
    pub id: u16,
    /// The token, by which a response is matched to its request.
    pub token: Token,
    /// The options, in the order of their numbers.
    pub options: Options,
    /// Its payload; empty means none.
    pub payload: Vec<u8>,
}

impl core::fmt::Debug for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("id", &self.id)
            .field("token", &self.token)
            .field("options", &self.options)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .finish()
    }
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than the header, or cut within a field.
    #[error("message is truncated")]
    Truncated,
    /// Version is not 1: to be ignored in silence (RFC 7252 section 3).
    #[error("unknown version")]
    Version,
    /// A reserved length of the token.
    #[error("token length")]
    TokenLength,
    /// An option delta or length with the reserved value 15, or a sum beyond 65,535.
    #[error("option header")]
    OptionHeader,
    /// More options than [`MAX_OPTIONS`].
    #[error("too many options")]
    TooManyOptions,
    /// A payload marker with nothing behind it.
    #[error("empty payload after the marker")]
    EmptyPayload,
    /// An empty message (0.00) with a token, options or a payload.
    #[error("empty message that is not empty")]
    NotEmpty,
    /// A code of a reserved class (1, 6 or 7).
    #[error("reserved code class")]
    ReservedCode,
}

impl DecodeError {
    /// Whether a confirmable message with this fault is answered with a Reset (RFC 7252 section 4.2):
    /// a wrong version is not, nor is what has no readable header.
    #[must_use]
    pub const fn is_format_error(self) -> bool {
        !matches!(self, Self::Version)
    }
}

/// Type and message ID of a datagram whose header is readable, although the rest may not be.
#[must_use]
pub fn peek(bytes: &[u8]) -> Option<(Type, u16)> {
    let &[first, _, high, low] = bytes.first_chunk::<4>()?;
    (first >> 6 == 1).then_some((Type::from_bits(first >> 4), u16::from_be_bytes([high, low])))
}

/// Takes bytes off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The rest of a nibble-coded number (RFC 7252 section 3.1): 13 and 14 announce one or two bytes.
    fn extended(&mut self, nibble: u8, reserved: DecodeError) -> Result<u32, DecodeError> {
        match nibble {
            13 => Ok(u32::from(self.byte()?).saturating_add(13)),
            14 => {
                let high = self.byte()?;
                let low = self.byte()?;
                Ok(u32::from(u16::from_be_bytes([high, low])).saturating_add(269))
            }
            15 => Err(reserved),
            n => Ok(u32::from(n)),
        }
    }
}

/// Writes a number the way [`Reader::extended`] reads it: its nibble, and the bytes behind.
fn extend(value: u32) -> (u8, [u8; 2], usize) {
    match value {
        0..=12 => (u8::try_from(value).unwrap_or(12), [0; 2], 0),
        13..=268 => (13, [u8::try_from(value.saturating_sub(13)).unwrap_or(u8::MAX), 0], 1),
        _ => (14, u16::try_from(value.saturating_sub(269)).unwrap_or(u16::MAX).to_be_bytes(), 2),
    }
}

/// Reads options and payload, the part that a message over UDP shares with the plaintext of OSCORE
/// (RFC 8613 section 5.3).
///
/// # Errors
/// [`DecodeError`] where the bytes break RFC 7252 section 3.1.
pub fn decode_body(bytes: &[u8]) -> Result<(Options, Vec<u8>), DecodeError> {
    let mut reader = Reader(bytes);
    let mut options = Options::new();
    let mut number = 0_u32;
    while let Some(&first) = reader.0.first() {
        reader.byte()?;
        if first == 0xff {
            if reader.0.is_empty() {
                return Err(DecodeError::EmptyPayload);
            }
            return Ok((options, reader.0.to_vec()));
        }
        let delta = reader.extended(first >> 4, DecodeError::OptionHeader)?;
        let length = reader.extended(first & 15, DecodeError::OptionHeader)?;
        number = number.saturating_add(delta);
        let number = u16::try_from(number).map_err(|_| DecodeError::OptionHeader)?;
        let length = u16::try_from(length).map_err(|_| DecodeError::OptionHeader)?;
        if options.len() >= MAX_OPTIONS {
            return Err(DecodeError::TooManyOptions);
        }
        options.push(number, reader.take(usize::from(length))?);
    }
    Ok((options, Vec::new()))
}

/// Appends options and payload as [`decode_body`] reads them.
pub fn encode_body(options: &Options, payload: &[u8], out: &mut Vec<u8>) {
    let mut last = 0;
    for (number, value) in options.iter() {
        let (delta, delta_bytes, delta_len) = extend(u32::from(number.saturating_sub(last)));
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let (length, length_bytes, length_len) = extend(length);
        out.push((delta << 4) | length);
        out.extend(delta_bytes.iter().take(delta_len));
        out.extend(length_bytes.iter().take(length_len));
        out.extend_from_slice(value);
        last = number;
    }
    if !payload.is_empty() {
        out.push(0xff);
        out.extend_from_slice(payload);
    }
}

impl Message {
    /// A message with this type, code, ID and token, and nothing in it yet.
    #[must_use]
    pub const fn new(kind: Type, code: Code, id: u16, token: Token) -> Self {
        Self { kind, code, id, token, options: Options::new(), payload: Vec::new() }
    }

    /// A request that an endpoint will give its type, ID and token.
    #[must_use]
    pub fn request(code: Code) -> Self {
        Self::new(Type::Confirmable, code, 0, Token::default())
    }

    /// A response that an endpoint will give its type, ID and token.
    #[must_use]
    pub fn response(code: Code) -> Self {
        Self::new(Type::Acknowledgement, code, 0, Token::default())
    }

    /// An empty message (0.00): an acknowledgement, a reset, or a ping.
    #[must_use]
    pub fn empty(kind: Type, id: u16) -> Self {
        Self::new(kind, Code::EMPTY, id, Token::default())
    }

    /// Adds the segments of a path as Uri-Path options.
    #[must_use]
    pub fn with_path<S: AsRef<str>>(mut self, segments: impl IntoIterator<Item = S>) -> Self {
        for segment in segments {
            self.options.push(crate::numbers::option::URI_PATH, segment.as_ref().as_bytes());
        }
        self
    }

    /// Adds a payload and its Content-Format.
    #[must_use]
    pub fn with_payload(mut self, content_format: u16, payload: Vec<u8>) -> Self {
        self.options.push_uint(crate::numbers::option::CONTENT_FORMAT, u32::from(content_format));
        self.payload = payload;
        self
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`DecodeError`]: what is to be ignored or reset (RFC 7252 sections 3 and 4.2).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        let first = reader.byte()?;
        if first >> 6 != 1 {
            return Err(DecodeError::Version);
        }
        let code = Code(reader.byte()?);
        let id = u16::from_be_bytes([reader.byte()?, reader.byte()?]);
        let length = reader.extended(first & 15, DecodeError::TokenLength)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::TokenLength)?;
        let token = Token(reader.take(length)?.to_vec());
        if code == Code::EMPTY && !(length == 0 && reader.0.is_empty()) {
            return Err(DecodeError::NotEmpty);
        }
        if !(code == Code::EMPTY || code.is_request() || code.is_response()) {
            return Err(DecodeError::ReservedCode);
        }
        let (options, payload) = decode_body(reader.0)?;
        Ok(Self { kind: Type::from_bits(first >> 4), code, id, token, options, payload })
    }

    /// Appends the bytes of a datagram.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        let token = self.token.as_bytes();
        let (nibble, more, count) = extend(u32::try_from(token.len()).unwrap_or(0));
        out.push(0x40 | (self.kind.bits() << 4) | nibble);
        out.push(self.code.0);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend(more.iter().take(count));
        out.extend_from_slice(token);
        encode_body(&self.options, &self.payload, out);
    }

    /// The bytes of a datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len().saturating_add(64));
        self.encode_to(&mut out);
        out
    }
}
