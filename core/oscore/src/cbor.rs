//! The few CBOR items that key derivation and AAD are made of, in shortest form (RFC 8949 section 4.2.1).

use alloc::vec::Vec;

pub(crate) const NULL: u8 = 0xf6;

fn head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    let (kind, skip) = match value {
        0..=23 => (u8::try_from(value).unwrap_or(0), 8),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    out.push(major | kind);
    out.extend(bytes.iter().skip(skip));
}

fn length(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

pub(crate) fn int(value: i64, out: &mut Vec<u8>) {
    match u64::try_from(value) {
        Ok(positive) => head(0, positive, out),
        Err(_) => head(1, value.unsigned_abs().saturating_sub(1), out),
    }
}

pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    head(2, length(value.len()), out);
    out.extend_from_slice(value);
}

pub(crate) fn text(value: &str, out: &mut Vec<u8>) {
    head(3, length(value.len()), out);
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn array(items: usize, out: &mut Vec<u8>) {
    head(4, length(items), out);
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
