//! Group policies (RFC 9594 sections 4.3.1 and 11.11).

use crate::cbor::{DecodeError, Item, Label, MapReader, MapWriter, RawCbor, Writer, int, label, uint};
use crate::labels::policy;
use alloc::vec::Vec;

/// The value of `group_policies`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupPolicies {
    /// How sequence numbers are synchronised.
    pub sn_synchronization_method: Option<Label>,
    /// How often a member asks for new keying material, in seconds.
    pub key_update_check_interval: Option<i64>,
    /// For how many seconds after `exp` a member may still decrypt.
    pub expiration_delta: Option<u64>,
    /// Policies that are not known here.
    pub extra: Vec<(Label, RawCbor)>,
}

impl GroupPolicies {
    pub(crate) fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        let mut map = MapReader::from_item(item, "group_policies")?;
        Ok(Self {
            sn_synchronization_method: map
                .optional(policy::SN_SYNCHRONIZATION_METHOD, label("sequence number synchronization method"))?,
            key_update_check_interval: map
                .optional(policy::KEY_UPDATE_CHECK_INTERVAL, int("key update check interval"))?,
            expiration_delta: map.optional(policy::EXPIRATION_DELTA, uint("expiration delta"))?,
            extra: map.rest(),
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let mut map = MapWriter::new();
        if let Some(method) = &self.sn_synchronization_method {
            method.write(map.entry(policy::SN_SYNCHRONIZATION_METHOD));
        }
        map.int(policy::KEY_UPDATE_CHECK_INTERVAL, self.key_update_check_interval);
        map.uint(policy::EXPIRATION_DELTA, self.expiration_delta);
        map.rest(&self.extra);
        map.write(out);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
