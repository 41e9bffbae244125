//! Identifiers with types of their own, so that none is taken for another. Debug and Display show the bytes in hexadecimal.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_bytes::ByteBuf;
use std::fmt;
use std::sync::Arc;

macro_rules! byte_identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cloning it copies no bytes.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// The identifier with these bytes.
            #[must_use]
            pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
                Self(bytes.into())
            }

            /// Returns its bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes.into())
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(bytes.into())
            }
        }

        impl From<&$name> for $name {
            fn from(id: &$name) -> Self {
                id.clone()
            }
        }

        impl<const N: usize> From<&[u8; N]> for $name {
            fn from(bytes: &[u8; N]) -> Self {
                Self(bytes.as_slice().into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec().into()))
            }
        }
    };
}

byte_identifier! {
    /// The name of a security association: what the messages under it show of it, e.g. the Recipient ID of an OSCORE context.
    /// The KDC gives it, and gives none to two associations at once.
    AssociationId
}

byte_identifier! {
    /// A group identifier: it names a group and one epoch of it. No other group and no other epoch ever gets it.
    Gid
}

byte_identifier! {
    /// A member's identifier under one Gid. While that Gid lasts, nobody else gets it.
    SenderId
}

byte_identifier! {
    /// A token hash (RFC 9770 section 4): two tokens of one hash are one token.
    TokenHash
}

impl TokenHash {
    /// Returns that of an access token, as it was posted.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self::from(&ace_groupcomm_messages::token_hash(token))
    }
}

/// NODENAME: the name of a member's own resource in a group (RFC 9594 section 4.1). Debug shows it in quotes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NodeName(String);

impl NodeName {
    /// The node of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name, as it stands in a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for NodeName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_stored_as_a_byte_string_and_shown_in_hexadecimal() {
        let id = AssociationId::from(b"\x00\x1b[");
        let mut stored = Vec::new();
        ciborium::into_writer(&id, &mut stored).unwrap();
        assert_eq!(stored, [0x43, 0x00, 0x1b, b'[']);
        assert_eq!(ciborium::from_reader::<AssociationId, _>(stored.as_slice()).unwrap(), id);
        assert_eq!(
            (id.to_string(), format!("{id:?}"), id.as_bytes()),
            ("001b5b".into(), "001b5b".into(), &b"\x00\x1b["[..])
        );
        assert_eq!(
            (NodeName::new("0a").to_string(), format!("{:?}", NodeName::new("0a"))),
            ("0a".into(), "\"0a\"".into())
        );
    }
}
