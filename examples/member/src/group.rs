//! A group as a member keeps it, and what of its keys was used.

use crate::MemberError;
use crate::state::Bytes;
use ace_groupcomm_messages::{GroupOscoreInputMaterial, PeerCred, RawCbor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A group that the member joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// The encoded `key` object.
    pub key: Bytes,
    /// The version of the keying material.
    pub num: i64,
    /// When it ends, in seconds since 1970, by the member's clock.
    pub expires: Option<u64>,
    /// NODENAME.
    pub node: String,
    /// The KDC's credential.
    pub kdc_cred: Bytes,
    /// The others' credentials, roles and Sender IDs.
    pub peers: Vec<Peer>,
    /// Digests of the keys and Sender IDs that were handed to another stack, or that may have been used without a
    /// record of it. None of them is handed out again, by whatever way it comes back.
    pub spent: Vec<Bytes>,
}

/// Another member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its Sender ID.
    pub id: Bytes,
    /// Its credential.
    pub cred: Bytes,
    /// Its roles.
    pub roles: u64,
}

impl From<PeerCred> for Peer {
    fn from(peer: PeerCred) -> Self {
        let roles = peer.roles.and_then(|roles| roles.as_uint()).unwrap_or(0);
        Self { id: Bytes(peer.id), cred: Bytes(peer.cred), roles }
    }
}

/// What sequence numbers belong to: the secret, the salt, the Gid and the Sender ID. A monitor has none.
fn digest(material: &GroupOscoreInputMaterial) -> Option<Bytes> {
    let sender_id = material.group_sender_id.as_deref()?;
    let parts = [&material.ms[..], material.salt.as_deref().unwrap_or_default(), &material.context_id, sender_id];
    let array = RawCbor::array(&parts.map(RawCbor::bytes));
    Some(Bytes(Sha256::digest(array.as_bytes()).iter().take(16).copied().collect()))
}

impl Group {
    /// The keying material.
    ///
    /// # Errors
    /// [`MemberError::Decode`].
    pub fn material(&self) -> Result<GroupOscoreInputMaterial, MemberError> {
        Ok(GroupOscoreInputMaterial::decode(&RawCbor::new(&self.key.0)?)?)
    }

    /// Keeps the credentials of all members but the member's own.
    pub(crate) fn set_peers(&mut self, peers: Vec<PeerCred>) {
        let own = self.material().ok().and_then(|material| material.group_sender_id.clone());
        self.peers = peers.into_iter().map(Peer::from).filter(|peer| Some(&peer.id.0) != own.as_ref()).collect();
    }

    /// Whether the keys were used under this Sender ID, or may have been. They must not be used from the start
    /// again.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        match self.material() {
            Ok(material) => digest(&material).is_some_and(|digest| self.spent.contains(&digest)),
            Err(_) => true,
        }
    }

    /// Marks the keys as used under this Sender ID.
    pub fn spend(&mut self) {
        let digest = self.material().ok().and_then(|material| digest(&material));
        if let Some(digest) = digest.filter(|digest| !self.spent.contains(digest)) {
            self.spent.push(digest);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn with(sender_id: Option<&[u8]>, ms: u8) -> Bytes {
        let material = GroupOscoreInputMaterial {
            ms: vec![ms; 16],
            hkdf: None,
            alg: None,
            salt: None,
            context_id: vec![1],
            group_sender_id: sender_id.map(<[u8]>::to_vec),
            cred_fmt: None,
            gp_enc_alg: None,
            sign: None,
            ecdh: None,
        };
        Bytes(material.encode().as_bytes().to_vec())
    }

    pub(crate) fn group() -> Group {
        Group {
            key: with(Some(&[0]), 1),
            num: 0,
            expires: None,
            node: "n".into(),
            kdc_cred: Bytes::default(),
            peers: Vec::new(),
            spent: Vec::new(),
        }
    }

    #[test]
    fn what_was_used_once_stays_used_by_whatever_way_it_comes_back() {
        let mut group = group();
        assert!(!group.is_spent());
        group.spend();
        group.spend();
        assert!(group.is_spent() && group.spent.len() == 1);
        for (key, spent) in [
            (with(Some(&[1]), 1), false),
            (with(Some(&[0]), 1), true),
            (with(Some(&[0]), 2), false),
            (with(None, 1), false),
            (Bytes(vec![0xff]), true),
        ] {
            group.key = key;
            assert_eq!(group.is_spent(), spent, "{:?}", group.key.0);
        }
        group.spend();
        group.key = with(None, 1);
        group.spend();
        assert!(group.spent.len() == 1 && !group.is_spent(), "a monitor sends nothing");
    }
}
