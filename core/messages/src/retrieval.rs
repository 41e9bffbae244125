//! The smaller resources: group names, policies, the version number, stale Sender IDs (RFC 9594 sections 4.2,
//! 4.6 and 4.7, Group OSCORE profile section 9.9).

use crate::cbor::{DecodeError, Item, MapReader, MapWriter, RawCbor, Writer, array, bytes, int, raw, text};
use crate::labels::groupcomm;
use crate::policies::GroupPolicies;
use alloc::string::String;
use alloc::vec::Vec;

/// The payload of FETCH to the root: group identifiers, in the profile's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNamesRequest {
    /// The group identifiers, one at least.
    pub gids: Vec<RawCbor>,
}

impl GroupNamesRequest {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where `gid` is missing, empty or malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let gids = MapReader::decode(payload)?.required(groupcomm::GID, "gid", array("gid", raw))?;
        if gids.is_empty() {
            return Err(DecodeError::Type("gid"));
        }
        Ok(Self { gids })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.entry(groupcomm::GID).list(&self.gids, Writer::raw);
        map.finish()
    }
}

/// One group in the answer; the wire has three parallel arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// The group identifier, as it was asked for.
    pub gid: RawCbor,
    /// The GROUPNAME.
    pub gname: String,
    /// The URI of the group-membership resource.
    pub guri: String,
}

/// The answer of FETCH to the root.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupNamesResponse {
    /// The groups; none gives an empty byte string on the wire.
    pub groups: Vec<GroupName>,
}

impl GroupNamesResponse {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or malformed, or the arrays differ in length.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload == [0x40] {
            return Ok(Self::default());
        }
        let mut map = MapReader::decode(payload)?;
        let gids = map.required(groupcomm::GID, "gid", array("gid", raw))?;
        let names = map.required(groupcomm::GNAME, "gname", array("gname", text("gname")))?;
        let uris = map.required(groupcomm::GURI, "guri", array("guri", text("guri")))?;
        if gids.len() != names.len() || gids.len() != uris.len() {
            return Err(DecodeError::Type("parallel arrays of one length"));
        }
        let groups = gids.into_iter().zip(names).zip(uris);
        Ok(Self { groups: groups.map(|((gid, gname), guri)| GroupName { gid, gname, guri }).collect() })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if self.groups.is_empty() {
            return alloc::vec![0x40];
        }
        let mut map = MapWriter::new();
        map.entry(groupcomm::GID).list(&self.groups, |out, group| out.raw(&group.gid));
        map.entry(groupcomm::GNAME).list(&self.groups, |out, group| out.text(&group.gname));
        map.entry(groupcomm::GURI).list(&self.groups, |out, group| out.text(&group.guri));
        map.finish()
    }
}

/// Reads the answer of the policies resource; an empty byte string tells that there are none.
///
/// # Errors
/// [`DecodeError`] where it is neither that nor a map with `group_policies`.
pub fn decode_policies(payload: &[u8]) -> Result<GroupPolicies, DecodeError> {
    if payload == [0x40] {
        return Ok(GroupPolicies::default());
    }
    MapReader::decode(payload)?.required(groupcomm::GROUP_POLICIES, "group_policies", GroupPolicies::from_item)
}

/// The answer of the policies resource.
#[must_use]
pub fn encode_policies(policies: &GroupPolicies) -> Vec<u8> {
    if policies.is_empty() {
        return alloc::vec![0x40];
    }
    let mut map = MapWriter::new();
    policies.write(map.entry(groupcomm::GROUP_POLICIES));
    map.finish()
}

/// Reads a bare integer, the answer of the num resource.
///
/// # Errors
/// [`DecodeError`] where it is none.
pub fn decode_num(payload: &[u8]) -> Result<i64, DecodeError> {
    int("num")(Item::decode(payload)?)
}

/// Returns a version, as a bare integer in CBOR.
#[must_use]
pub fn encode_num(num: i64) -> Vec<u8> {
    let mut out = Writer::new();
    out.int(num);
    out.0
}

/// Reads a bare boolean, the answer of the active resource (Group OSCORE profile section 8.2).
///
/// # Errors
/// [`DecodeError`] where it is none.
pub fn decode_active(payload: &[u8]) -> Result<bool, DecodeError> {
    Item::decode(payload)?.boolean().ok_or(DecodeError::Type("active"))
}

/// Returns whether a group is active, as a bare boolean in CBOR.
#[must_use]
pub fn encode_active(active: bool) -> Vec<u8> {
    let mut out = Writer::new();
    out.bool(active);
    out.0
}

/// Reads the Sender IDs that the stale-sids resource answers; an empty payload tells that all peers have to be
/// dropped, and gives `None`.
///
/// # Errors
/// [`DecodeError`] where it is neither that nor an array of byte strings.
pub fn decode_stale_sids(payload: &[u8]) -> Result<Option<Vec<Vec<u8>>>, DecodeError> {
    if payload.is_empty() {
        return Ok(None);
    }
    array("stale Sender IDs", bytes("Sender ID"))(Item::decode(payload)?).map(Some)
}

/// An array of byte strings.
#[must_use]
pub fn encode_stale_sids(sids: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::new();
    out.list(sids, |out, sid| out.bytes(sid));
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    // Covers: KG-4.2.1-01
    #[test]
    fn group_names() {
        let request = GroupNamesRequest { gids: vec![RawCbor::new(&hex("4101")).unwrap()] };
        assert_eq!(hex::encode(request.encode()), "a100814101");
        assert_eq!(GroupNamesRequest::decode(&request.encode()), Ok(request));
        for bad in ["a0", "a10080", "a1004101", "4101"] {
            assert!(GroupNamesRequest::decode(&hex(bad)).is_err(), "{bad}");
        }
        let group =
            GroupName { gid: RawCbor::new(&hex("4101")).unwrap(), gname: "g".into(), guri: "/ace-group/g".into() };
        let response = GroupNamesResponse { groups: vec![group] };
        assert_eq!(
            hex::encode(response.encode()),
            "a300814101018161670281 6c2f6163652d67726f75702f67".replace(' ', "")
        );
        assert_eq!(GroupNamesResponse::decode(&response.encode()), Ok(response));
        assert_eq!(GroupNamesResponse::default().encode(), [0x40]);
        assert_eq!(GroupNamesResponse::decode(&[0x40]), Ok(GroupNamesResponse::default()));
        for bad in ["a0", "a300800181616702 80", "a3008001800281 6161", "a200800180"] {
            assert!(GroupNamesResponse::decode(&hex(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn bare_items() {
        assert_eq!(encode_num(10), [0x0a]);
        assert_eq!(decode_num(&[0x0a]), Ok(10));
        assert!(decode_num(&[0xf6]).is_err() && decode_num(&[]).is_err());
        assert_eq!(encode_active(true), [0xf5]);
        assert_eq!((decode_active(&[0xf4]), decode_active(&[0xf5])), (Ok(false), Ok(true)));
        assert!(decode_active(&[0]).is_err());
        assert_eq!(encode_stale_sids(&[vec![1], vec![]]), hex("82410140"));
        assert_eq!(decode_stale_sids(&hex("82410140")), Ok(Some(vec![vec![1], vec![]])));
        assert_eq!((decode_stale_sids(&[]), decode_stale_sids(&[0x80])), (Ok(None), Ok(Some(vec![]))));
        assert!(decode_stale_sids(&hex("8101")).is_err());
    }

    #[test]
    fn policies() {
        let policies = GroupPolicies { key_update_check_interval: Some(3_600), ..GroupPolicies::default() };
        assert_eq!(hex::encode(encode_policies(&policies)), "a110a101190e10");
        assert_eq!(decode_policies(&encode_policies(&policies)), Ok(policies));
        assert_eq!(encode_policies(&GroupPolicies::default()), [0x40]);
        assert_eq!(decode_policies(&[0x40]), Ok(GroupPolicies::default()));
        assert!(decode_policies(&[0xa0]).is_err());
    }
}
