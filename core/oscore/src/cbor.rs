//! The few CBOR items that key derivation and AAD are made of, in shortest form (RFC 8949 section 4.2.1).

use alloc::vec::Vec;
use ciborium_ll::{Encoder, Header};

pub(crate) const NULL: u8 = 0xf6;

fn push(header: Header, out: &mut Vec<u8>) {
    // A Vec takes everything.
    let _ = Encoder::from(out).push(header);
}

pub(crate) fn int(value: i64, out: &mut Vec<u8>) {
    let header = match u64::try_from(value) {
        Ok(positive) => Header::Positive(positive),
        Err(_) => Header::Negative(value.unsigned_abs().saturating_sub(1)),
    };
    push(header, out);
}

pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    push(Header::Bytes(Some(value.len())), out);
    out.extend_from_slice(value);
}

pub(crate) fn text(value: &str, out: &mut Vec<u8>) {
    push(Header::Text(Some(value.len())), out);
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn array(items: usize, out: &mut Vec<u8>) {
    push(Header::Array(Some(items)), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_short_as_they_can_be() {
        for (value, expected) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (65535, "19ffff"),
            (65536, "1a00010000"),
            (0xffff_ffff, "1affffffff"),
            (0x1_0000_0000, "1b0000000100000000"),
            (-1, "20"),
            (-24, "37"),
            (-25, "3818"),
            (i64::MIN, "3b7fffffffffffffff"),
        ] {
            let mut out = Vec::new();
            int(value, &mut out);
            assert_eq!(hex::encode(&out), expected, "{value}");
        }
        let mut out = Vec::new();
        array(3, &mut out);
        text("a", &mut out);
        bytes(&[1], &mut out);
        assert_eq!(hex::encode(&out), "8361614101");
    }
}
