//! Credentials of members: asking for them with `get_creds`, and the answer (RFC 9594 sections 4.3.1 and 4.4).

use crate::cbor::{DecodeError, Item, MapReader, MapWriter, RawCbor, Writer, array, bytes, int, raw, tuple};
use crate::labels::groupcomm;
use alloc::vec::Vec;

/// Which members' credentials are asked for: the value of `get_creds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetCreds {
    /// Those of all members.
    All,
    /// Those that the filters select.
    Filter {
        /// Whether `ids` names those wanted or those not wanted.
        inclusive: bool,
        /// Wanted roles; a combination selects who has all of them. The profile says how they are encoded.
        roles: Vec<RawCbor>,
        /// The identifiers of members, e.g. Sender IDs.
        ids: Vec<Vec<u8>>,
    },
}

impl GetCreds {
    pub(crate) fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        if item.is_null() {
            return Ok(Self::All);
        }
        let [inclusive, roles, ids] = tuple(item, "get_creds")?;
        Ok(Self::Filter {
            inclusive: inclusive.boolean().ok_or(DecodeError::Type("inclusion_flag"))?,
            roles: array("role_filter", raw)(roles)?,
            ids: array("id_filter", bytes("node identifier"))(ids)?,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Self::All => out.null(),
            Self::Filter { inclusive, roles, ids } => {
                out.array(3);
                out.bool(*inclusive);
                out.list(roles, Writer::raw);
                out.list(ids, |out, id| out.bytes(id));
            }
        }
    }

    /// Reads the payload of a FETCH to the creds resource: a map with this one field.
    ///
    /// # Errors
    /// [`DecodeError`] where it is missing or malformed.
    pub fn decode_request(payload: &[u8]) -> Result<Self, DecodeError> {
        MapReader::decode(payload)?.required(groupcomm::GET_CREDS, "get_creds", Self::from_item)
    }

    /// The payload of a FETCH to the creds resource.
    #[must_use]
    pub fn encode_request(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.write(map.entry(groupcomm::GET_CREDS));
        map.finish()
    }
}

/// One member's credential, its roles and its identifier; the wire has three parallel arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCred {
    /// The credential, as it was given to the KDC.
    pub cred: Vec<u8>,
    /// The member's roles; the profile says how they are encoded. `None` where the KDC does not tell.
    pub roles: Option<RawCbor>,
    /// The member's node identifier.
    pub id: Vec<u8>,
}

/// Takes the three arrays out of a map and joins them.
pub(crate) fn take(map: &mut MapReader<'_>) -> Result<Option<Vec<PeerCred>>, DecodeError> {
    let creds = map.optional(groupcomm::CREDS, array("creds", bytes("credential")))?;
    let roles = map.optional(groupcomm::PEER_ROLES, array("peer_roles", raw))?;
    let ids = map.optional(groupcomm::PEER_IDENTIFIERS, array("peer_identifiers", bytes("node identifier")))?;
    let Some(creds) = creds else {
        return if roles.is_none() && ids.is_none() { Ok(None) } else { Err(DecodeError::Missing("creds")) };
    };
    let ids = ids.ok_or(DecodeError::Missing("peer_identifiers"))?;
    if ids.len() != creds.len() || roles.as_ref().is_some_and(|roles| roles.len() != creds.len()) {
        return Err(DecodeError::Type("parallel arrays of one length"));
    }
    let roles: Vec<Option<RawCbor>> = match roles {
        Some(roles) => roles.into_iter().map(Some).collect(),
        None => creds.iter().map(|_| None).collect(),
    };
    let peers = creds.into_iter().zip(ids).zip(roles);
    Ok(Some(peers.map(|((cred, id), roles)| PeerCred { cred, roles, id }).collect()))
}

/// Writes the three arrays. Roles are told only where they are known of every member.
pub(crate) fn put(peers: &[PeerCred], map: &mut MapWriter) {
    map.entry(groupcomm::CREDS).list(peers, |out, peer| out.bytes(&peer.cred));
    let roles: Option<Vec<&RawCbor>> = peers.iter().map(|peer| peer.roles.as_ref()).collect();
    if let Some(roles) = roles {
        map.entry(groupcomm::PEER_ROLES).list(&roles, |out, roles| out.raw(roles));
    }
    map.entry(groupcomm::PEER_IDENTIFIERS).list(peers, |out, peer| out.bytes(&peer.id));
}

/// The answer of the creds resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredsResponse {
    /// The version of the keying material that the members have.
    pub num: i64,
    /// The members that were asked for, each with its credential.
    pub peers: Vec<PeerCred>,
}

impl CredsResponse {
    /// Reads the payload. An empty byte string, the answer where nobody has an identifier asked for, gives
    /// `None`.
    ///
    /// # Errors
    /// [`DecodeError`] where it is neither that nor such a map.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        if payload == [0x40] {
            return Ok(None);
        }
        let mut map = MapReader::decode(payload)?;
        let num = map.required(groupcomm::NUM, "num", int("num"))?;
        let peers = take(&mut map)?.ok_or(DecodeError::Missing("creds"))?;
        Ok(Some(Self { num, peers }))
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.int(groupcomm::NUM, Some(self.num));
        put(&self.peers, &mut map);
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    // Covers: KG-4.3.1-02, KG-4.3.1-03
    #[test]
    fn get_creds_is_null_or_three_elements() {
        for (request, bytes) in [
            (GetCreds::All, "a104f6"),
            (
                GetCreds::Filter {
                    inclusive: true,
                    roles: vec![RawCbor::uint(2), RawCbor::uint(4), RawCbor::uint(6)],
                    ids: vec![],
                },
                "a104 83 f5 83 02 04 06 80",
            ),
            (GetCreds::Filter { inclusive: false, roles: vec![], ids: vec![vec![1]] }, "a104 83 f4 80 81 4101"),
        ] {
            assert_eq!(request.encode_request(), hex(bytes));
            assert_eq!(GetCreds::decode_request(&hex(bytes)), Ok(request));
        }
        for bad in [
            "a0",
            "a10480",
            "a10482f580",
            "a10483018080",
            "a10483f58081 01",
            "a10484f5808080",
            "a10483f5a080",
            "a104f4",
        ] {
            assert!(GetCreds::decode_request(&hex(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_three_arrays_belong_together() {
        let peer = |n: u8| PeerCred { cred: vec![n; 2], roles: Some(RawCbor::uint(6)), id: vec![n] };
        let response = CredsResponse { num: 5, peers: vec![peer(1), peer(2)] };
        let bytes = hex("a4 09 05 0d 82 420101 420202 0e 82 06 06 0f 82 4101 4102");
        assert_eq!(response.encode(), bytes);
        assert_eq!(CredsResponse::decode(&bytes), Ok(Some(response)));
        let without = CredsResponse { num: 5, peers: vec![PeerCred { roles: None, ..peer(1) }] };
        assert_eq!(CredsResponse::decode(&without.encode()), Ok(Some(without)));
        assert_eq!(CredsResponse::decode(&[0x40]), Ok(None));
        let empty = CredsResponse { num: 0, peers: vec![] };
        assert_eq!(CredsResponse::decode(&empty.encode()), Ok(Some(empty)));
        for bad in [
            "a20905 0d80",
            "a30905 0d814101 0f80",
            "a40905 0d814101 0e80 0f814101",
            "a20d80 0f80",
            "a20905 0f80",
            "a20905 0e80",
            "a30905 0e80 0f80",
            "a10905",
            "4101",
        ] {
            assert!(CredsResponse::decode(&hex(bad)).is_err(), "{bad}");
        }
    }
}
