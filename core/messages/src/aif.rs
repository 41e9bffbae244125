//! Scope: which roles in which groups (RFC 9594 section 3.1, AIF of RFC 9237), and its extended format
//! (RFC 9594 section 7).

use crate::cbor::{self, DecodeError, Item, RawCbor, Writer, array, text, tuple};
use alloc::string::String;
use alloc::vec::Vec;

/// One entry of a scope in the AIF format: a group, and the roles in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeEntry {
    /// The group's name (Toid).
    pub gname: String,
    /// The roles (Tperm); the application profile says how they are encoded.
    pub permissions: RawCbor,
}

/// A scope: entries for one or more groups, each named once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope(Vec<ScopeEntry>);

/// A group that a scope names twice: its roles would be in doubt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scope names group {0:?} twice")]
pub struct GroupTwice(pub String);

/// The value of a `scope` parameter or claim as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeValue {
    /// A text string, as OAuth has it; no group is named that way.
    Text(String),
    /// A byte string that wraps the scope.
    Bytes(Vec<u8>),
    /// The extended format, a tagged byte string; the tag tells what the bytes mean (RFC 9594 section 7).
    Extended {
        /// The CBOR tag, by which the application profile is known.
        tag: u64,
        /// The scope inside of it, encoded.
        bytes: Vec<u8>,
    },
}

fn entry(item: Item<'_>) -> Result<ScopeEntry, DecodeError> {
    let [gname, permissions] = tuple(item, "scope entry")?;
    Ok(ScopeEntry { gname: text("gname")(gname)?, permissions: cbor::raw(permissions)? })
}

/// An entry; none where it is for administrators, and its Toid no name.
fn entry_for_users(item: Item<'_>) -> Result<Option<ScopeEntry>, DecodeError> {
    let [toid, permissions] = tuple(item, "scope entry")?;
    let is_admin = permissions.integer().is_some_and(|bits| bits >= 0 && bits & 1 == 1);
    if is_admin && toid.text().is_none() { Ok(None) } else { entry(item).map(Some) }
}

impl ScopeEntry {
    /// Reads one entry, as the `scope` of a Join Request wraps it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not an array of a text string and one more item.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        entry(Item::decode(bytes)?)
    }

    /// The bytes that the `scope` of a Join Request wraps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.0
    }

    fn write(&self, out: &mut Writer) {
        out.array(2);
        out.text(&self.gname);
        out.raw(&self.permissions);
    }
}

/// A scope of one group.
impl From<ScopeEntry> for Scope {
    fn from(entry: ScopeEntry) -> Self {
        Self([entry].into())
    }
}

impl Scope {
    /// A scope with these entries, in this order.
    ///
    /// # Errors
    /// [`GroupTwice`], with the first name that comes again.
    pub fn new(entries: impl IntoIterator<Item = ScopeEntry>) -> Result<Self, GroupTwice> {
        let entries: Vec<ScopeEntry> = entries.into_iter().collect();
        let mut names: Vec<&str> = entries.iter().map(|entry| entry.gname.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(GroupTwice((*a).into())),
            _ => None,
        });
        twice.map_or(Ok(Self(entries)), Err)
    }

    /// Returns the entries, in their order.
    #[must_use]
    pub fn entries(&self) -> &[ScopeEntry] {
        &self.0
    }

    /// Returns the entries, in their order.
    #[must_use]
    pub fn into_entries(self) -> Vec<ScopeEntry> {
        self.0
    }

    /// Reads the bytes that `scope` wraps.
    ///
    /// # Errors
    /// [`DecodeError`]; also where one group is named twice, since its roles would then be in doubt.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::of(array("scope", entry)(Item::decode(bytes)?)?)
    }

    fn of(entries: impl IntoIterator<Item = ScopeEntry>) -> Result<Self, DecodeError> {
        Self::new(entries).map_err(|GroupTwice(_)| DecodeError::Type("scope that names one group once"))
    }

    /// The bytes that `scope` wraps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(&self.0, |out, entry| entry.write(out));
        out.0
    }

    /// The entry of a group, found byte for byte.
    #[must_use]
    pub fn entry(&self, gname: &str) -> Option<&ScopeEntry> {
        self.0.iter().find(|entry| entry.gname == gname)
    }
}

impl ScopeValue {
    pub(crate) fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        if let Some((tag, inner)) = item.tagged() {
            return Ok(Self::Extended { tag, bytes: cbor::bytes("scope")(inner)? });
        }
        let text = item.text().map(Self::Text);
        text.or_else(|| item.byte_string().map(Self::Bytes)).ok_or(DecodeError::Type("scope"))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Self::Text(text) => out.text(text),
            Self::Bytes(bytes) => out.bytes(bytes),
            Self::Extended { tag, bytes } => {
                out.tag(*tag);
                out.bytes(bytes);
            }
        }
    }

    /// The scope within, whatever its tag. An entry for administrators that names groups by something else than a name is left
    /// out: bit 0 of its Tperm is set, as all profiles of today have it (draft-ietf-ace-oscore-gm-admin section 3).
    ///
    /// # Errors
    /// [`DecodeError`], also for a text string.
    pub fn decode(&self) -> Result<Scope, DecodeError> {
        match self {
            Self::Text(_) => Err(DecodeError::Type("scope")),
            Self::Bytes(bytes) | Self::Extended { bytes, .. } => {
                let entries = array("scope", entry_for_users)(Item::decode(bytes)?)?;
                Scope::of(entries.into_iter().flatten())
            }
        }
    }
}

/// The tag of the extended format for a Content-Format, as RFC 9277 section 4.3 maps it.
#[must_use]
pub fn extended_scope_tag(content_format: u16) -> u64 {
    let content_format = u64::from(content_format);
    let high = content_format.checked_div(255).unwrap_or(0);
    let low = content_format.checked_rem(255).unwrap_or(0);
    0x6374_0101_u64.saturating_add(high.saturating_mul(256)).saturating_add(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn scope(entries: &[(&str, u64)]) -> Scope {
        let entry =
            |&(gname, roles): &(&str, u64)| ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(roles) };
        Scope::new(entries.iter().map(entry)).unwrap()
    }

    // Covers: KG-3.1-02
    #[test]
    fn encodes_names_and_role_sets() {
        for (entries, bytes) in
            [(vec![("g1", 6)], "818262673106"), (vec![("g1", 6), ("g2", 16)], "82826267310682626732")]
        {
            let bytes = if entries.len() == 2 { alloc::format!("{bytes}10") } else { bytes.into() };
            let encoded = scope(&entries).encode();
            assert_eq!(hex::encode(&encoded), bytes);
            assert_eq!(Scope::decode(&encoded), Ok(scope(&entries)));
        }
        let one = scope(&[("g1", 6)]).into_entries().remove(0);
        assert_eq!(hex::encode(one.encode()), "8262673106");
        assert_eq!(ScopeEntry::decode(&one.encode()), Ok(one));
    }

    #[test]
    fn a_scope_of_ones_own_names_each_group_once_too() {
        let entry = |gname: &str| ScopeEntry { gname: gname.into(), permissions: RawCbor::uint(2) };
        assert_eq!(Scope::new(["b", "a", "b"].map(entry)), Err(GroupTwice("b".into())));
        assert_eq!(Scope::new(["b", "a"].map(entry)).map(|scope| scope.entries().len()), Ok(2));
        assert_eq!(Scope::from(entry("a")), scope(&[("a", 2)]));
    }

    // Covers: TH-2-09/group-twice
    #[test]
    fn names_are_compared_byte_for_byte_and_stand_once() {
        let scope = scope(&[("g1", 6), ("G1", 2), ("g1/", 4)]);
        assert_eq!(scope.entry("g1").and_then(|e| e.permissions.as_uint()), Some(6));
        assert_eq!(scope.entry("g1\0"), None);
        let twice = hex::decode("8282626731068262673104").unwrap();
        assert!(Scope::decode(&twice).is_err());
        for malformed in ["8162673106", "81836267310600", "8182410106", "a0", "8262673106", "81826267310600"] {
            assert!(Scope::decode(&hex::decode(malformed).unwrap()).is_err(), "{malformed}");
        }
    }

    #[test]
    fn extended_scope_has_the_tag_of_its_content_format() {
        let tag = extended_scope_tag(crate::labels::content_format::AIF_OSCORE_GROUPCOMM_CBOR);
        assert_eq!(tag, 1_668_547_113);
        let value = ScopeValue::Extended { tag, bytes: scope(&[("g1", 6)]).encode() };
        let mut out = Writer::new();
        value.write(&mut out);
        assert_eq!(hex::encode(&out.0), "da6374022946818262673106");
        let read = ScopeValue::from_item(Item::decode(&out.0).unwrap()).unwrap();
        assert_eq!(read, value);
        assert_eq!(read.decode(), Ok(scope(&[("g1", 6)])));
        assert!(ScopeValue::Text("g1".into()).decode().is_err());
        assert!(ScopeValue::from_item(Item::decode(&[0xf6]).unwrap()).is_err());
    }
}
