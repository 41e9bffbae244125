//! Well-formed CBOR items as the bytes that they stand in.
//!
//! [`Item::decode`] walks over the bytes once and checks all of them, also what no message knows: nesting is bounded by
//! the length alone, since nothing here calls itself. What an item means is looked at where a field is read.

use super::DecodeError;
use alloc::string::String;
use alloc::vec::Vec;
use ciborium_ll::{Decoder, Encoder, Header};
use core::ops::Range;

/// The simple value `null` (RFC 8949 section 3.3).
const NULL: u8 = 22;
/// The simple values `false` and `true`.
const FALSE: u8 = 20;
const TRUE: u8 = 21;
/// The first byte of a simple value of two bytes, and the least value that may stand in such.
const SIMPLE: u8 = 0xf8;
const LEAST_SIMPLE: u8 = 32;

/// One item that is known to be well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Item<'a>(&'a [u8]);

/// Reads the head of an item; with it comes what stands behind the head.
fn head(bytes: &[u8]) -> Result<(Header, &[u8]), DecodeError> {
    let mut decoder = Decoder::from(bytes);
    let header = decoder.pull().map_err(|_| DecodeError::Malformed)?;
    if let [SIMPLE, value, ..] = bytes
        && *value < LEAST_SIMPLE
    {
        return Err(DecodeError::Malformed);
    }
    Ok((header, bytes.get(decoder.offset()..).ok_or(DecodeError::Malformed)?))
}

/// Takes the content of a string whose head has been read; it may come in pieces.
fn string(header: Header, mut rest: &[u8], mut each: impl FnMut(&[u8])) -> Result<&[u8], DecodeError> {
    let (is_text, length) = match header {
        Header::Bytes(length) => (false, length),
        Header::Text(length) => (true, length),
        _ => return Err(DecodeError::Malformed),
    };
    let mut piece = |rest: &mut &[u8], length: usize| {
        let (content, behind) = rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        if is_text && core::str::from_utf8(content).is_err() {
            return Err(DecodeError::Malformed);
        }
        each(content);
        *rest = behind;
        Ok(())
    };
    match length {
        Some(length) => piece(&mut rest, length)?,
        None => loop {
            let (header, behind) = head(rest)?;
            rest = behind;
            match header {
                Header::Break => break,
                Header::Bytes(Some(length)) if !is_text => piece(&mut rest, length)?,
                Header::Text(Some(length)) if is_text => piece(&mut rest, length)?,
                _ => return Err(DecodeError::Malformed),
            }
        },
    }
    Ok(rest)
}

/// What is open at one place of a walk.
struct Frame {
    kind: Kind,
    /// How many items, or pairs of a map, are to come; none where a break ends them.
    left: Option<usize>,
    /// Where this map's keys begin in [`Walk::keys`], and its first key in [`Walk::written`].
    keys: usize,
    written: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Tag,
    /// A map of which a key comes next; it begins here in [`Walk::written`].
    Key(usize),
    Value,
}

/// A walk over one item.
#[derive(Default)]
struct Walk {
    open: Vec<Frame>,
    /// Keys in a form in which equal keys have equal bytes, and which of them are those of the maps that are open.
    written: Vec<u8>,
    keys: Vec<Range<usize>>,
    /// How many of the maps that are open are at a key.
    in_keys: usize,
}

impl Walk {
    fn push(&mut self, header: Header) {
        if self.in_keys > 0 {
            // A Vec takes everything.
            let _ = Encoder::from(&mut self.written).push(header);
        }
    }

    /// Begins an array, a tag or a map.
    fn begin(&mut self, kind: Kind, left: Option<usize>) {
        let (keys, written) = (self.keys.len(), self.written.len());
        self.open.push(Frame { kind, left, keys, written });
        if matches!(kind, Kind::Key(_)) {
            self.in_keys = self.in_keys.saturating_add(1);
        }
    }

    /// Ends what is open; for a map, its keys are compared.
    fn end(&mut self) -> Result<(), DecodeError> {
        let Some(frame) = self.open.pop() else { return Err(DecodeError::Malformed) };
        if matches!(frame.kind, Kind::Key(_)) {
            self.in_keys = self.in_keys.saturating_sub(1);
            let written = &self.written;
            let key = |range: &Range<usize>| written.get(range.clone()).unwrap_or_default();
            let own = self.keys.get_mut(frame.keys..).unwrap_or_default();
            own.sort_unstable_by(|one, other| key(one).cmp(key(other)));
            if own.windows(2).any(|pair| matches!(pair, [one, other] if key(one) == key(other))) {
                return Err(DecodeError::DuplicateKey);
            }
            self.keys.truncate(frame.keys);
        }
        if self.in_keys == 0 {
            self.written.truncate(frame.written);
        } else if frame.kind != Kind::Tag {
            self.push(Header::Break);
        }
        Ok(())
    }

    /// An item has come to its end, and all that ends with it.
    fn complete(&mut self) -> Result<(), DecodeError> {
        while let Some(frame) = self.open.last_mut() {
            match frame.kind {
                Kind::Key(start) => {
                    frame.kind = Kind::Value;
                    self.in_keys = self.in_keys.saturating_sub(1);
                    self.keys.push(start..self.written.len());
                    return Ok(());
                }
                Kind::Value => {
                    frame.kind = Kind::Key(self.written.len());
                    self.in_keys = self.in_keys.saturating_add(1);
                }
                Kind::Array | Kind::Tag => (),
            }
            frame.left = frame.left.map(|left| left.saturating_sub(1));
            if frame.left != Some(0) {
                return Ok(());
            }
            self.end()?;
        }
        Ok(())
    }

    /// Takes one head, and the content of a string. The item may be at its end then, or have begun.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let (header, rest) = head(bytes)?;
        match header {
            Header::Break => {
                let frame = self.open.last().filter(|frame| frame.left.is_none() && frame.kind != Kind::Value);
                frame.ok_or(DecodeError::Malformed)?;
                self.end()?;
            }
            Header::Array(length) => {
                self.push(Header::Array(None));
                self.begin(Kind::Array, length);
                if length != Some(0) {
                    return Ok(rest);
                }
                self.end()?;
            }
            Header::Map(length) => {
                self.push(Header::Map(None));
                self.begin(Kind::Key(self.written.len()), length);
                if length != Some(0) {
                    return Ok(rest);
                }
                self.end()?;
            }
            Header::Tag(_) => {
                self.push(header);
                self.begin(Kind::Tag, Some(1));
                return Ok(rest);
            }
            Header::Bytes(_) | Header::Text(_) => {
                let mut length = 0_usize;
                let at = self.written.len();
                let (is_written, written) = (self.in_keys > 0, &mut self.written);
                let rest = string(header, rest, |piece| {
                    length = length.saturating_add(piece.len());
                    if is_written {
                        written.extend_from_slice(piece);
                    }
                })?;
                if is_written {
                    let content = self.written.split_off(at);
                    let is_text = matches!(header, Header::Text(_));
                    self.push(if is_text { Header::Text(Some(length)) } else { Header::Bytes(Some(length)) });
                    self.written.extend_from_slice(&content);
                }
                self.complete()?;
                return Ok(rest);
            }
            Header::Positive(_) | Header::Negative(_) | Header::Float(_) | Header::Simple(_) => self.push(header),
        }
        self.complete()?;
        Ok(rest)
    }
}

/// Splits the bytes behind the first item, which is known to be well-formed. No key is compared.
fn split_first(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (mut rest, mut open) = (bytes, Vec::new());
    loop {
        let (header, behind) = head(rest).ok()?;
        rest = behind;
        match header {
            Header::Break => {
                open.pop()?;
            }
            Header::Array(length) => open.push(length),
            Header::Map(length) => open.push(length.map(|pairs| pairs.saturating_mul(2))),
            Header::Tag(_) => open.push(Some(1)),
            Header::Bytes(_) | Header::Text(_) => rest = string(header, rest, |_| ()).ok()?,
            _ => (),
        }
        let begins = matches!(header, Header::Array(_) | Header::Map(_) | Header::Tag(_));
        let mut ended = !begins;
        loop {
            match open.last_mut() {
                Some(Some(left)) if ended => *left = left.saturating_sub(1),
                None => {
                    let length = bytes.len().checked_sub(rest.len())?;
                    return Some((Item(bytes.get(..length)?), rest));
                }
                _ => (),
            }
            if open.last() != Some(&Some(0)) {
                break;
            }
            open.pop();
            ended = true;
        }
    }
}

impl<'a> Item<'a> {
    /// Checks that the bytes are one item: well-formed, no map with a key twice, nothing behind it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut walk, mut rest) = (Walk::default(), bytes);
        loop {
            rest = walk.step(rest)?;
            if walk.open.is_empty() {
                return if rest.is_empty() { Ok(Self(bytes)) } else { Err(DecodeError::TrailingBytes) };
            }
        }
    }

    /// The bytes of the item.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    fn head(self) -> Option<(Header, &'a [u8])> {
        head(self.0).ok()
    }

    pub(crate) fn integer(self) -> Option<i128> {
        match self.head()?.0 {
            Header::Positive(value) => Some(i128::from(value)),
            Header::Negative(value) => Some(!i128::from(value)),
            _ => None,
        }
    }

    pub(crate) fn float(self) -> Option<f64> {
        match self.head()?.0 {
            Header::Float(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.head()?.0 {
            Header::Simple(FALSE) => Some(false),
            Header::Simple(TRUE) => Some(true),
            _ => None,
        }
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.head(), Some((Header::Simple(NULL), _)))
    }

    pub(crate) fn byte_string(self) -> Option<Vec<u8>> {
        let (header @ Header::Bytes(_), rest) = self.head()? else { return None };
        let mut out = Vec::new();
        string(header, rest, |piece| out.extend_from_slice(piece)).ok()?;
        Some(out)
    }

    pub(crate) fn text(self) -> Option<String> {
        let (header @ Header::Text(_), rest) = self.head()? else { return None };
        let mut out = Vec::new();
        string(header, rest, |piece| out.extend_from_slice(piece)).ok()?;
        String::from_utf8(out).ok()
    }

    /// A tag's number, and what it is put on.
    pub(crate) fn tagged(self) -> Option<(u64, Self)> {
        match self.head()? {
            (Header::Tag(tag), rest) => Some((tag, Self(rest))),
            _ => None,
        }
    }

    /// The items of an array.
    pub(crate) fn array(self) -> Option<Items<'a>> {
        match self.head()? {
            (Header::Array(left), rest) => Some(Items { left, rest }),
            _ => None,
        }
    }

    /// Keys and values of a map, one behind the other.
    pub(crate) fn map(self) -> Option<Items<'a>> {
        match self.head()? {
            (Header::Map(pairs), rest) => Some(Items { left: pairs.map(|pairs| pairs.saturating_mul(2)), rest }),
            _ => None,
        }
    }

    /// Whether all of it is written as our own writer would: the shortest heads, with lengths.
    pub(crate) fn is_shortest_form(self) -> bool {
        let mut rest = self.0;
        while !rest.is_empty() {
            let Ok((header, behind)) = head(rest) else { return false };
            let mut shortest = Vec::new();
            let _ = Encoder::from(&mut shortest).push(header);
            let length = rest.len().saturating_sub(behind.len());
            if rest.get(..length) != Some(&*shortest) {
                return false;
            }
            rest = match header {
                Header::Bytes(None) | Header::Text(None) | Header::Array(None) | Header::Map(None) => return false,
                Header::Bytes(_) | Header::Text(_) => match string(header, behind, |_| ()) {
                    Ok(behind) => behind,
                    Err(_) => return false,
                },
                _ => behind,
            };
        }
        true
    }
}

/// Items one behind the other, in what is known to be well-formed.
#[derive(Clone)]
pub(crate) struct Items<'a> {
    left: Option<usize>,
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        match &mut self.left {
            Some(left) => *left = left.checked_sub(1)?,
            None if matches!(head(self.rest), Ok((Header::Break, _))) => return None,
            None => (),
        }
        let (item, rest) = split_first(self.rest)?;
        self.rest = rest;
        Some(item)
    }
}
