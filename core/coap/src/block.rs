//! The value of Block1 and Block2 (RFC 7959 section 2.2).

/// Position and size of one block of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the block, from 0, below 2^20.
    pub num: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// The size exponent, 0 to 6: a block has 2^(szx + 4) bytes.
    pub szx: u8,
}

impl Block {
    /// The largest block number, 2^20 - 1.
    pub const MAX_NUM: u32 = 0xf_ffff;
    /// The size exponent of the largest block, 1,024 bytes.
    pub const MAX_SZX: u8 = 6;

    /// Reads the uint of an option; `None` for the reserved size exponent 7 and for too long a value.
    #[must_use]
    pub const fn from_uint(value: u32) -> Option<Self> {
        let szx = (value & 7) as u8;
        if szx > Self::MAX_SZX || value > 0xff_ffff {
            return None;
        }
        Some(Self { num: value >> 4, more: value & 8 != 0, szx })
    }

    /// The uint of the option.
    #[must_use]
    pub const fn to_uint(self) -> u32 {
        ((self.num & Self::MAX_NUM) << 4) | ((self.more as u32) << 3) | ((self.szx & 7) as u32)
    }

    /// How many bytes a full block has.
    #[must_use]
    pub const fn size(self) -> usize {
        16 << (self.szx & 7)
    }

    /// Where the block starts in the body.
    #[must_use]
    pub const fn offset(self) -> usize {
        (self.num as usize).saturating_mul(self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_uint() {
        let block = Block { num: 5, more: true, szx: 2 };
        assert_eq!(block.to_uint(), 0x5a);
        assert_eq!(Block::from_uint(0x5a), Some(block));
        assert_eq!((block.size(), block.offset()), (64, 320));
        assert_eq!(Block::from_uint(7), None);
        assert_eq!(Block::from_uint(0x100_0000), None);
        let last = Block { num: Block::MAX_NUM, more: false, szx: 6 };
        assert_eq!(Block::from_uint(last.to_uint()), Some(last));
    }
}
