//! Frames: what the log's files consist of. A mark, the length, a checksum, and the body.

use serde::{Deserialize, Serialize};

/// In front of each frame, so that whole ones can be found behind a broken one.
const MARK: [u8; 4] = *b"\xacFr\x01";
/// Mark, length and checksum.
const HEAD: usize = 12;

/// The first frame of each file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The number of the file.
    pub(crate) number: u64,
    /// The last revision that was acknowledged before: files before this one have it, or the tables do.
    pub(crate) after: u64,
    /// Revisions here are at least this one; those in earlier files that are not below it never happened.
    pub(crate) first: u64,
}

/// A key and its new value; none where it is deleted.
pub(crate) type Write<'a> = (&'a serde_bytes::Bytes, Option<&'a serde_bytes::Bytes>);

/// What one transaction writes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    /// Its revision.
    pub(crate) revision: u64,
    /// Keys and values.
    #[serde(borrow)]
    pub(crate) write: Vec<Write<'a>>,
}

fn checksum(length: [u8; 4], body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

/// A frame with this body, in a buffer that was used before; none where the body is too long for one.
pub(crate) fn frame(body: &impl Serialize, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
    buffer.clear();
    buffer.resize(HEAD, 0);
    let mut out = postcard::to_extend(body, buffer).ok()?;
    let (head, body) = out.split_at_mut_checked(HEAD)?;
    let length = u32::try_from(body.len()).ok()?.to_le_bytes();
    head.copy_from_slice(&[MARK, length, checksum(length, body)].concat());
    Some(out)
}

/// Takes the frame off the front; none where there is none, or a broken one.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mark, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (*mark == MARK && *sum == checksum(*length, body)).then_some((body, rest))
}

/// Whether a whole frame stands anywhere in these bytes.
pub(crate) fn anywhere(bytes: &[u8]) -> bool {
    (0..bytes.len()).filter_map(|at| bytes.get(at..)).any(|rest| rest.starts_with(&MARK) && split(rest).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_whole_or_none() {
        let write = [(serde_bytes::Bytes::new(b"k"), Some(serde_bytes::Bytes::new(b"v")))];
        let entry = Entry { revision: 7, write: write.to_vec() };
        let whole = frame(&vec![&entry], vec![1; 99]).unwrap();
        let (body, rest) = split(&whole).unwrap();
        assert!(rest.is_empty());
        assert_eq!(postcard::from_bytes::<Vec<Entry<'_>>>(body).unwrap(), [entry]);
        for cut in 0..whole.len() {
            assert!(split(&whole[..cut]).is_none());
        }
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0x10;
            assert!(split(&garbled).is_none(), "byte {at}");
            let behind = [&garbled[..], &whole].concat();
            assert!(anywhere(&behind[1..]), "the one behind is found");
            assert!(!anywhere(&garbled));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(split(&bytes).is_none());
            let marked = [&MARK[..], &bytes].concat();
            prop_assert!(split(&marked).is_none());
            let _ = postcard::from_bytes::<Vec<Entry<'_>>>(&bytes);
            let _ = postcard::from_bytes::<Header>(&bytes);
        }
    }
}
