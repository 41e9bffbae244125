//! Options of a CoAP message (RFC 7252 sections 3.1 and 5.10).

use crate::numbers::{Definition, definition, option as number};
use alloc::string::String;
use alloc::vec::Vec;

/// The options of one message, in ascending order of their numbers; repeated options keep their order.
///
/// All values lie in one buffer, so that a message with many options costs two allocations.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    index: Vec<(u16, u16)>,
    values: Vec<u8>,
}

impl Options {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self { index: Vec::new(), values: Vec::new() }
    }

    /// Adds an option after those with the same or a lower number.
    ///
    /// A value longer than 65,535 bytes cannot be encoded in CoAP and is cut there.
    pub fn push(&mut self, number: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let value = value.get(..usize::from(length)).unwrap_or(value);
        let place = self.index.partition_point(|&(n, _)| n <= number);
        let start = self.index.iter().take(place).map(|&(_, l)| usize::from(l)).sum::<usize>();
        self.index.insert(place, (number, length));
        if start == self.values.len() {
            self.values.extend_from_slice(value);
        } else {
            self.values.splice(start..start, value.iter().copied());
        }
    }

    /// Adds an option with a value of format uint, without leading zero bytes (RFC 7252 section 3.2).
    pub fn push_uint(&mut self, number: u16, value: u32) {
        let bytes = value.to_be_bytes();
        let skip = bytes.iter().take_while(|&&b| b == 0).count();
        self.push(number, bytes.get(skip..).unwrap_or_default());
    }

    /// Removes every option with this number and puts one in their place.
    pub fn set(&mut self, number: u16, value: &[u8]) {
        self.remove(number);
        self.push(number, value);
    }

    /// Removes every option with this number.
    pub fn remove(&mut self, number: u16) {
        if self.has(number) {
            self.retain(|n| n != number);
        }
    }

    /// Keeps only the options whose number the predicate likes.
    pub fn retain(&mut self, keep: impl Fn(u16) -> bool) {
        let mut kept = Self::new();
        for (n, value) in self.iter() {
            if keep(n) {
                kept.push(n, value);
            }
        }
        *self = kept;
    }

    /// Number and value of each option, in ascending order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = self.values.as_slice();
        self.index.iter().map(move |&(n, length)| {
            let (value, after) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
            rest = after;
            (n, value)
        })
    }

    /// The values of all options with this number.
    pub fn all(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |&(n, _)| n == number).map(|(_, value)| value)
    }

    /// The value of the first option with this number.
    #[must_use]
    pub fn first(&self, number: u16) -> Option<&[u8]> {
        self.all(number).next()
    }

    /// Whether there is an option with this number.
    #[must_use]
    pub fn has(&self, number: u16) -> bool {
        self.index.iter().any(|&(n, _)| n == number)
    }

    /// The value of the first option with this number, read as a uint of at most four bytes.
    /// A longer value gives `None`, like an absent one.
    #[must_use]
    pub fn uint(&self, number: u16) -> Option<u32> {
        let value = self.first(number)?;
        if value.len() > 4 {
            return None;
        }
        Some(value.iter().fold(0, |sum, &b| (sum << 8) | u32::from(b)))
    }

    /// The Content-Format, if there is one.
    #[must_use]
    pub fn content_format(&self) -> Option<u16> {
        self.uint(number::CONTENT_FORMAT).and_then(|v| u16::try_from(v).ok())
    }

    /// The segments of Uri-Path; `None` when one of them is not UTF-8.
    #[must_use]
    pub fn uri_path(&self) -> Option<Vec<String>> {
        self.strings(number::URI_PATH)
    }

    /// The arguments of Uri-Query; `None` when one of them is not UTF-8.
    #[must_use]
    pub fn uri_query(&self) -> Option<Vec<String>> {
        self.strings(number::URI_QUERY)
    }

    /// All values with this number as text; `None` when one of them is not UTF-8.
    #[must_use]
    pub fn strings(&self, number: u16) -> Option<Vec<String>> {
        self.all(number).map(|v| core::str::from_utf8(v).ok().map(String::from)).collect()
    }

    /// Holds the options to what a receiver knows and to their definitions. An elective option that breaks its
    /// definition, or comes once too often, is dropped (RFC 7252 sections 5.4.1, 5.4.3 and 5.4.5).
    ///
    /// # Errors
    /// The number of a critical option that is not known, breaks its definition, or comes once too often.
    pub fn check(&mut self, knows: impl Fn(u16) -> bool) -> Result<(), u16> {
        if let Some((n, ..)) = self.judged().find(|&(n, _, fits)| is_critical(n) && !(fits && knows(n))) {
            return Err(n);
        }
        if self.judged().any(|(.., fits)| !fits) {
            *self = self.judged().filter(|&(.., fits)| fits).map(|(n, value, _)| (n, value)).collect();
        }
        Ok(())
    }

    /// Each option with whether it fits its definition.
    fn judged(&self) -> impl Iterator<Item = (u16, &[u8], bool)> {
        let mut before = None;
        self.iter().map(move |(n, value)| {
            let first = before.replace(n) != Some(n);
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            let fits = |d: Definition| (d.min..=d.max).contains(&length) && (first || d.repeatable);
            (n, value, definition(n).is_none_or(fits))
        })
    }

    /// How many options there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

impl core::fmt::Debug for Options {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(u16, &'a [u8])> for Options {
    fn from_iter<I: IntoIterator<Item = (u16, &'a [u8])>>(iter: I) -> Self {
        let mut options = Self::new();
        for (number, value) in iter {
            options.push(number, value);
        }
        options
    }
}

/// Whether an endpoint that does not know this option must refuse the message (RFC 7252 section 5.4.1).
#[must_use]
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn pushed_out_of_order_comes_back_in_order() {
        let mut options = Options::new();
        options.push(number::URI_QUERY, b"q");
        options.push(number::URI_PATH, b"a");
        options.push(number::URI_PATH, b"bc");
        options.push(number::URI_HOST, b"h");
        let all: Vec<_> = options.iter().collect();
        assert_eq!(
            all,
            vec![
                (number::URI_HOST, b"h".as_slice()),
                (number::URI_PATH, b"a"),
                (number::URI_PATH, b"bc"),
                (number::URI_QUERY, b"q")
            ]
        );
        options.remove(number::URI_PATH);
        assert_eq!(options.len(), 2);
        let copy: Options = options.iter().collect();
        assert_eq!(copy, options);
        options.set(number::URI_HOST, b"other");
        assert_eq!(options.first(number::URI_HOST), Some(b"other".as_slice()));
        assert!(options.has(number::URI_QUERY) && !options.has(number::URI_PATH));
        assert!(!options.is_empty() && Options::new().is_empty());
    }

    #[test]
    fn uints_have_no_leading_zero_and_at_most_four_bytes() {
        let mut options = Options::new();
        options.push_uint(number::OBSERVE, 0);
        options.push_uint(number::CONTENT_FORMAT, 261);
        options.push_uint(number::MAX_AGE, 0x0102_0304);
        options.push(number::SIZE1, &[0, 0, 0, 0, 1]);
        assert_eq!(options.first(number::OBSERVE), Some(&[][..]));
        assert_eq!(options.uint(number::OBSERVE), Some(0));
        assert_eq!(options.first(number::CONTENT_FORMAT), Some(&[1, 5][..]));
        assert_eq!(options.content_format(), Some(261));
        assert_eq!(options.uint(number::MAX_AGE), Some(0x0102_0304));
        assert_eq!(options.uint(number::SIZE1), None);
    }

    #[test]
    fn paths_must_be_text() {
        let mut options = Options::new();
        options.push(number::URI_PATH, b"ace-group");
        options.push(number::URI_PATH, "größe".as_bytes());
        options.push(number::URI_QUERY, b"rt=x");
        assert_eq!(options.uri_path().unwrap(), ["ace-group", "größe"]);
        assert_eq!(options.uri_query().unwrap(), ["rt=x"]);
        options.push(number::URI_PATH, &[0xff]);
        assert_eq!(options.uri_path(), None);
    }

    #[test]
    fn options_are_held_to_their_definitions() {
        let check = |options: &[(u16, &[u8])]| {
            let mut options: Options = options.iter().copied().collect();
            let result = options.check(|n| n != number::IF_MATCH);
            result.map(|()| options.iter().map(|(n, value)| (n, value.len())).collect::<Vec<_>>())
        };
        let (path, accept, echo) = (number::URI_PATH, number::ACCEPT, number::ECHO);
        assert_eq!(check(&[(path, b"a"), (path, b"b")]), Ok(vec![(path, 1), (path, 1)]));
        assert_eq!(check(&[(accept, b"1"), (accept, b"1")]), Err(accept), "critical, and once too often");
        assert_eq!(check(&[(accept, &[0; 3])]), Err(accept), "critical, and too long");
        assert_eq!(check(&[(number::IF_MATCH, b"")]), Err(number::IF_MATCH), "critical, and not known");
        assert_eq!(check(&[(path, &[0; 255])]), Ok(vec![(path, 255)]));
        assert_eq!(check(&[(path, &[0; 256])]), Err(path));
        assert_eq!(check(&[(echo, b"")]), Ok(vec![]), "elective, and too short");
        assert_eq!(check(&[(echo, b"1"), (echo, b"12")]), Ok(vec![(echo, 1)]), "elective, and once too often");
        assert_eq!(check(&[(echo, &[0; 41]), (60_000, b"x")]), Ok(vec![(60_000, 1)]), "unknown, and elective");
        assert_eq!(check(&[(60_001, b"")]), Ok(vec![(60_001, 0)]), "known to the caller alone");
    }

    #[test]
    fn odd_numbers_are_critical() {
        assert!(is_critical(number::URI_PATH) && is_critical(number::OSCORE));
        assert!(!is_critical(number::OBSERVE) && !is_critical(number::ECHO));
    }
}
