//! What a client learns about the credentials of a group before it joins: `sign_info` (RFC 9594 section
//! 3.3.1), `ecdh_info` and `kdc_dh_creds` (Group OSCORE profile sections 5.3.1 and 5.3.2).

use crate::cbor::{DecodeError, Item, Label, RawCbor, Writer, array, bytes, int, label, raw, text, tuple};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// One entry of `sign_info`, or of `ecdh_info`, which has the same form: an algorithm, its parameters and the
/// format of credentials, for one or more groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmInfo {
    /// The groups, one at least.
    pub groups: Vec<String>,
    /// The algorithm, in the COSE Algorithms registry.
    pub algorithm: Label,
    /// Capabilities of the algorithm.
    pub parameters: Vec<RawCbor>,
    /// Capabilities of its keys, one at least.
    pub key_parameters: Vec<RawCbor>,
    /// The format of credentials, a COSE header parameter; `None` where the KDC keeps no credentials.
    pub cred_fmt: Option<i64>,
}

/// One entry of `kdc_dh_creds`: the Diffie-Hellman credential of the KDC, for one or more groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcDhCred {
    /// The groups, one at least.
    pub groups: Vec<String>,
    /// The format of the credential, a COSE header parameter.
    pub cred_fmt: i64,
    /// The KDC's Diffie-Hellman credential, in the group's format.
    pub cred: Vec<u8>,
}

fn groups(item: Item<'_>) -> Result<Vec<String>, DecodeError> {
    match item.text() {
        Some(one) => Ok(vec![one]),
        None => non_empty(array("id", text("gname"))(item)?, "id"),
    }
}

fn non_empty<T>(items: Vec<T>, name: &'static str) -> Result<Vec<T>, DecodeError> {
    if items.is_empty() { Err(DecodeError::Type(name)) } else { Ok(items) }
}

fn write_groups(groups: &[String], out: &mut Writer) {
    match groups {
        [one] => out.text(one),
        many => out.list(many, |out, one| out.text(one)),
    }
}

impl AlgorithmInfo {
    fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let [id, algorithm, parameters, key_parameters, cred_fmt] = tuple(item, "entry")?;
        Ok(Self {
            groups: groups(id)?,
            algorithm: label("algorithm")(algorithm)?,
            parameters: array("parameters", raw)(parameters)?,
            key_parameters: non_empty(array("key parameters", raw)(key_parameters)?, "key parameters")?,
            cred_fmt: if cred_fmt.is_null() { None } else { Some(int("cred_fmt")(cred_fmt)?) },
        })
    }

    fn write(&self, out: &mut Writer) {
        out.array(5);
        write_groups(&self.groups, out);
        self.algorithm.write(out);
        out.list(&self.parameters, Writer::raw);
        out.list(&self.key_parameters, Writer::raw);
        match self.cred_fmt {
            Some(format) => out.int(format),
            None => out.null(),
        }
    }

    /// Reads the array of entries.
    pub(crate) fn list(item: Item<'_>) -> Result<Vec<Self>, DecodeError> {
        non_empty(array("info", Self::from_item)(item)?, "info")
    }

    pub(crate) fn write_list(entries: &[Self], out: &mut Writer) {
        out.list(entries, |out, entry| entry.write(out));
    }
}

impl KdcDhCred {
    fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let [id, cred_fmt, cred] = tuple(item, "entry")?;
        Ok(Self { groups: groups(id)?, cred_fmt: int("cred_fmt")(cred_fmt)?, cred: bytes("cred")(cred)? })
    }

    /// Reads the array of entries.
    pub(crate) fn list(item: Item<'_>) -> Result<Vec<Self>, DecodeError> {
        non_empty(array("kdc_dh_creds", Self::from_item)(item)?, "kdc_dh_creds")
    }

    pub(crate) fn write_list(entries: &[Self], out: &mut Writer) {
        out.list(entries, |out, entry| {
            out.array(3);
            write_groups(&entry.groups, out);
            out.int(entry.cred_fmt);
            out.bytes(&entry.cred);
        });
    }
}

/// The three together, as a KDC answers them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CredentialInfo {
    /// For groups that sign.
    pub sign_info: Vec<AlgorithmInfo>,
    /// For groups that use static Diffie-Hellman keys.
    pub ecdh_info: Vec<AlgorithmInfo>,
    /// For groups that use nothing else.
    pub kdc_dh_creds: Vec<KdcDhCred>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::Item;

    #[test]
    fn entries_for_one_group_and_for_many() {
        let one = |groups: &[&str], algorithm: i64, curve: u64| AlgorithmInfo {
            groups: groups.iter().map(|&g| g.into()).collect(),
            algorithm: Label::Int(algorithm),
            parameters: vec![RawCbor::uint(1)],
            key_parameters: vec![RawCbor::uint(1), RawCbor::uint(curve)],
            cred_fmt: Some(14),
        };
        for (entry, bytes) in [
            (one(&["g1"], -8, 6), "818562673127810182010 60e"),
            (one(&["g1"], -27, 4), "8185626731381a81018201040e"),
            (one(&["g1", "g2"], -8, 6), "8185826267316267322781018201060e"),
        ] {
            let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
            let mut out = Writer::new();
            AlgorithmInfo::write_list(core::slice::from_ref(&entry), &mut out);
            assert_eq!(hex::encode(out.0), hex::encode(&bytes));
            assert_eq!(AlgorithmInfo::list(Item::decode(&bytes).unwrap()), Ok(vec![entry]));
        }
        let none = hex::decode("8185626731278101810 1f6".replace(' ', "")).unwrap();
        let none = Item::decode(&none).unwrap();
        assert_eq!(AlgorithmInfo::list(none).unwrap()[0].cred_fmt, None);
        for bad in
            ["80", "818062", "81856267312781018001", "818580278101820106 0e", "8185626731278101800e", "818401020304"]
        {
            let bytes = hex::decode(bad.replace(' ', "")).unwrap();
            assert!(Item::decode(&bytes).and_then(AlgorithmInfo::list).is_err(), "{bad}");
        }
    }

    #[test]
    fn dh_credentials_come_back() {
        let entry = KdcDhCred { groups: vec!["g".into()], cred_fmt: 14, cred: vec![0xa0] };
        let mut out = Writer::new();
        KdcDhCred::write_list(core::slice::from_ref(&entry), &mut out);
        assert_eq!(hex::encode(&out.0), "818361670e41a0");
        assert_eq!(KdcDhCred::list(Item::decode(&out.0).unwrap()), Ok(vec![entry]));
        assert!(KdcDhCred::list(Item::decode(&[0x80]).unwrap()).is_err());
    }
}
