//! Bytes that a member keeps.

use crate::config::from_hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroize;

/// Bytes, in hexadecimal where they are written as text. Any of them may be a key: they are wiped, and Debug tells how
/// many there are.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| D::Error::custom("must be hexadecimal, two digits a byte"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    #[test]
    fn they_are_written_in_hexadecimal_and_shown_nowhere_else() {
        let read = |text: &'static str| {
            let text: StrDeserializer<'_, Error> = text.into_deserializer();
            Bytes::deserialize(text)
        };
        assert_eq!(read("00ffA0").unwrap(), Bytes(vec![0, 255, 160]));
        for wrong in ["0", "0g", " 00"] {
            assert!(read(wrong).unwrap_err().to_string().contains("hexadecimal"), "{wrong}");
        }
        assert_eq!(format!("{:?}", Bytes(vec![7; 16])), "16 bytes");
    }
}
