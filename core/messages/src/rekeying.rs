//! Rekeying messages, KDC to members (RFC 9594 section 6, Group OSCORE profile section 11.1).

use crate::cbor::{DecodeError, Label, MapReader, MapWriter, RawCbor, array, bytes};
use crate::creds::{self, PeerCred};
use crate::join::KeyDistribution;
use crate::labels::groupcomm;
use alloc::vec::Vec;

/// New keying material, and what changed among the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyingMessage {
    /// The new keying material.
    pub material: KeyDistribution,
    /// Members that joined, where the rekeying is due to that.
    pub joined: Option<Vec<PeerCred>>,
    /// Identifiers that are no longer good. A Group OSCORE profile's message always has them; their absence
    /// tells a member that the message is a plain answer of GET.
    pub stale_node_ids: Option<Vec<Vec<u8>>>,
    /// Parameters that are not known here.
    pub extra: Vec<(Label, RawCbor)>,
}

impl RekeyingMessage {
    /// Reads the payload.
    ///
    /// # Errors
    /// [`DecodeError`] where a field is missing or has a wrong form.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut map = MapReader::decode(payload)?;
        Ok(Self {
            material: KeyDistribution::take(&mut map)?,
            joined: creds::take(&mut map)?,
            stale_node_ids: map
                .optional(groupcomm::STALE_NODE_IDS, array("stale_node_ids", bytes("node identifier")))?,
            extra: map.rest(),
        })
    }

    /// Returns the payload, in CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        self.material.put(&mut map);
        if let Some(peers) = &self.joined {
            creds::put(peers, &mut map);
        }
        if let Some(ids) = &self.stale_node_ids {
            map.entry(groupcomm::STALE_NODE_IDS).list(ids, |out, id| out.bytes(id));
        }
        map.rest(&self.extra);
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// The message that the Group OSCORE profile's section 11.1 describes.
    #[test]
    fn a_rekeying_message_comes_back() {
        let bytes = "a7 0701 08a2024100064237fd 0906 0a01 0b1a5fee6600 0c1a00278d00 1822814101".replace(' ', "");
        let bytes = hex::decode(bytes).unwrap();
        let message = RekeyingMessage::decode(&bytes).unwrap();
        assert_eq!((message.material.num, message.material.exi), (6, Some(2_592_000)));
        assert_eq!(message.stale_node_ids, Some(vec![vec![1]]));
        assert_eq!(message.encode(), bytes);
        let plain = RekeyingMessage {
            stale_node_ids: None,
            joined: Some(vec![PeerCred { cred: vec![1], roles: None, id: vec![2] }]),
            extra: vec![(Label::Int(70), RawCbor::uint(1))],
            ..message
        };
        assert_eq!(RekeyingMessage::decode(&plain.encode()), Ok(plain));
        assert!(RekeyingMessage::decode(&hex::decode("a307010800182280").unwrap()).is_err());
    }
}
