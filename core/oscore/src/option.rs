//! The value of the OSCORE option (RFC 8613 section 6.1).

use crate::Error;
use alloc::vec::Vec;

/// A Partial IV: a sequence number below 2^40, in one to five bytes (RFC 8613 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct PartialIv(u64);

impl PartialIv {
    /// The largest one, 2^40 - 1.
    pub const MAX: u64 = 0xff_ffff_ffff;

    /// The Partial IV of a sequence number; `None` beyond [`Self::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number > Self::MAX { None } else { Some(Self(number)) }
    }

    /// Returns the sequence number, at most [`Self::MAX`].
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// All five bytes, as a nonce has them.
    #[must_use]
    pub const fn padded(self) -> [u8; 5] {
        let [_, _, _, a, b, c, d, e] = self.0.to_be_bytes();
        [a, b, c, d, e]
    }

    /// As it is sent: without leading zero bytes, but at least one byte.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let padded = self.padded();
        let skip = padded.iter().take_while(|&&b| b == 0).count().min(4);
        padded.get(skip..).unwrap_or_default().to_vec()
    }

    /// The Partial IV that was sent so; `None` where it is empty, longer than five bytes, or begins with a zero byte that it does not
    /// need.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let minimal = bytes.len() == 1 || bytes.first().is_some_and(|&b| b != 0);
        (minimal && bytes.len() <= 5).then(|| Self(bytes.iter().fold(0, |sum, &b| (sum << 8) | u64::from(b))))
    }
}

/// What the OSCORE option of one message says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OscoreOption {
    /// The Partial IV; in every request, in few responses.
    pub partial_iv: Option<PartialIv>,
    /// The ID Context of the sender, where it is sent.
    pub kid_context: Option<Vec<u8>>,
    /// The Sender ID of the sender; in every request.
    pub kid: Option<Vec<u8>>,
}

const KID_CONTEXT: u8 = 0x10;
const KID: u8 = 0x08;
const RESERVED: u8 = 0xe0;

impl OscoreOption {
    /// Reads the value of the option.
    ///
    /// # Errors
    /// [`Error::Malformed`] for reserved bits, a Partial IV of six or seven bytes or with leading zeros,
    /// a value that is cut short, and flag bits of zero followed by bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        let Some((&flags, mut rest)) = value.split_first() else { return Ok(Self::default()) };
        if flags & RESERVED != 0 || flags == 0 {
            return Err(Error::Malformed);
        }
        let mut take = |length: usize| -> Result<&[u8], Error> {
            let (taken, after) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
            rest = after;
            Ok(taken)
        };
        let partial_iv = match usize::from(flags & 7) {
            0 => None,
            n => Some(PartialIv::from_bytes(take(n)?).ok_or(Error::Malformed)?),
        };
        let kid_context = if flags & KID_CONTEXT == 0 {
            None
        } else {
            let length = take(1)?.first().map_or(0, |&b| usize::from(b));
            Some(take(length)?.to_vec())
        };
        let kid = if flags & KID == 0 {
            if !rest.is_empty() {
                return Err(Error::Malformed);
            }
            None
        } else {
            Some(rest.to_vec())
        };
        Ok(Self { partial_iv, kid_context, kid })
    }

    /// The value of the option; empty where nothing is said.
    ///
    /// # Errors
    /// [`Error::Parameter`] when the kid context is longer than its length byte can tell.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut flags = 0;
        let mut out = alloc::vec![0];
        if let Some(iv) = self.partial_iv {
            let bytes = iv.bytes();
            flags |= u8::try_from(bytes.len()).unwrap_or(0) & 7;
            out.extend_from_slice(&bytes);
        }
        if let Some(context) = &self.kid_context {
            flags |= KID_CONTEXT;
            out.push(u8::try_from(context.len()).map_err(|_| Error::Parameter)?);
            out.extend_from_slice(context);
        }
        if let Some(kid) = &self.kid {
            flags |= KID;
            out.extend_from_slice(kid);
        }
        match out.first_mut() {
            Some(first) if flags != 0 => *first = flags,
            _ => out.clear(),
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn option(piv: Option<u64>, context: Option<&[u8]>, kid: Option<&[u8]>) -> OscoreOption {
        OscoreOption {
            partial_iv: piv.and_then(PartialIv::new),
            kid_context: context.map(<[u8]>::to_vec),
            kid: kid.map(<[u8]>::to_vec),
        }
    }

    // Covers: OS-2-01, OS-6.1-01, OS-6.1-02
    // The five examples of RFC 8613 section 6.3.
    // Covers: OS-6.1-03
    #[test]
    fn examples_of_section_6_3() {
        for (value, expected) in [
            (option(Some(5), None, Some(&[0x25])), "090525"),
            (option(Some(0), None, Some(&[])), "0900"),
            (option(Some(5), Some(&[0x44, 0x61, 0x6c, 0x65, 0x6b]), Some(&[])), "19050544616c656b"),
            // No example of the section: kid context and kid, in this order.
            (option(Some(5), Some(&[0x44]), Some(&[0x25])), "1905014425"),
            (option(None, None, None), ""),
            (option(Some(7), None, None), "0107"),
        ] {
            assert_eq!(hex::encode(value.encode().unwrap()), expected);
            assert_eq!(OscoreOption::decode(&hex::decode(expected).unwrap()), Ok(value));
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for value in [
            "00",
            "0000",
            "80",
            "40",
            "2100",
            "06010203040506",
            "0701020304050607",
            "01",
            "020007",
            "10",
            "110501",
            "0105aa",
        ] {
            assert_eq!(OscoreOption::decode(&hex::decode(value).unwrap()), Err(Error::Malformed), "{value}");
        }
        assert_eq!(option(None, Some(&[0; 256]), None).encode(), Err(Error::Parameter));
        assert_eq!(option(None, Some(&[0; 255]), None).encode().unwrap().len(), 257);
    }

    // Covers: OS-5-02
    #[test]
    fn partial_ivs_have_no_leading_zeros() {
        for (number, bytes) in [(0, vec![0]), (255, vec![255]), (256, vec![1, 0]), (PartialIv::MAX, vec![255; 5])] {
            assert_eq!(PartialIv::new(number).unwrap().bytes(), bytes);
            assert_eq!(PartialIv::from_bytes(&bytes).unwrap().number(), number);
        }
        assert_eq!(PartialIv::new(PartialIv::MAX + 1), None);
    }
}
