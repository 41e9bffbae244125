//! The KDC's side of a media group.

use crate::{BITRATE, NO_BITRATE, NUMBER, RECEIVER, SENDER};
use ace_groupcomm::config::{ConfigError, ConfigMap, ParameterReader, Parameters};
use ace_groupcomm::refusal::Refusal;
use ace_groupcomm::traits::crypto::{CryptoProvider, Identity, PublicKey, SignatureAlgorithm};
use ace_groupcomm::traits::profile::{
    CallingMember, EligibleCredential, GroupRules, KeyAudience, KeyingMaterialProducer, OnRestore, OwnChanges,
    ProfileJoin, ProfileJoined, ProfileOutcome, ProfileRequest, ProfileRoute, ProfileWho, RecordKind, Roles,
};
use ace_groupcomm::{Gid, Method, Secret, Status, Stop, View, plain_record};
use ace_groupcomm_messages::labels::{content_format::CBOR, cose_header::KCCS};
use ace_groupcomm_messages::{CredentialInfo, Label, RawCbor};
use serde::{Deserialize, Serialize};
use std::{ops::RangeInclusive, time::Duration};

/// Protection suites: the lengths of the master key and of the master salt (RFC 3711, RFC 7714).
const SUITES: [(&str, (usize, usize)); 2] = [("AES_CM_128_HMAC_SHA1_80", (16, 14)), ("AEAD_AES_256_GCM", (32, 12))];

/// A group, as it is configured.
pub struct MediaGroup {
    gname: String,
    parameters: Parameters,
    identity: Identity,
    key_len: usize,
    salt_len: usize,
    max_bitrate: u64,
    lifetime: u64,
}

impl MediaGroup {
    /// Reads the parameters: `key`, the KDC's P-256 scalar; `suite`; `max_bitrate` in kbit/s; `key_lifetime` in seconds.
    pub fn configure(gname: &str, config: ConfigMap, crypto: &dyn CryptoProvider) -> Result<Self, ConfigError> {
        let mut read = ParameterReader::new(config);
        let key = read.signing_key("key", SignatureAlgorithm::Es256, crypto)?;
        let (key_len, salt_len) = read.choose("suite", &SUITES, "AES_CM_128_HMAC_SHA1_80")?;
        let max_bitrate = read.uint("max_bitrate", 100_000, 1..=u64::from(u32::MAX))?;
        let lifetime = read.seconds("key_lifetime", 86_400, 1..=31_536_000)?;
        let (gname, parameters, identity) = (gname.into(), read.finish()?, Identity::kccs("kdc", key));
        Ok(Self { gname, parameters, identity, key_len, salt_len, max_bitrate, lifetime })
    }
}

/// What is stored of a stream, by the NODENAME of its sender.
#[derive(Clone, Serialize, Deserialize)]
struct Stream {
    ssrc: Vec<u8>,
    bitrate: u64,
    title: String,
}

plain_record!(Stream);

/// After a restore the senders join again, with other SSRCs.
const STREAMS: RecordKind = RecordKind { number: 1, on_restore: OnRestore::Drop };

const READ: ProfileRoute = ProfileRoute {
    name: "streams",
    is_below: false,
    method: Method::Get,
    who: ProfileWho::Member,
    takes: None,
    gives: Some(CBOR),
    is_observable: true,
};
const WRITE: ProfileRoute =
    ProfileRoute { is_below: true, method: Method::Post, takes: Some(CBOR), gives: None, is_observable: false, ..READ };

impl GroupRules for MediaGroup {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn resource_type(&self) -> &'static str {
        "example.media.gm"
    }

    fn may_join_with(&self, roles: Roles) -> bool {
        roles.0 != 0 && SENDER.with(RECEIVER).includes(roles)
    }

    fn shows_credential(&self, roles: Roles) -> bool {
        roles.meets(SENDER)
    }

    fn peers_of(&self, _joiner: Roles) -> Roles {
        SENDER
    }

    fn identifier_len(&self) -> RangeInclusive<usize> {
        4..=4
    }

    fn credential_info(&self) -> CredentialInfo {
        CredentialInfo { sign_info: vec![SignatureAlgorithm::Es256.info(&self.gname, KCCS)], ..Default::default() }
    }

    fn eligible(&self, _view: &View<'_>, cred: &[u8]) -> Result<Option<EligibleCredential>, Stop> {
        Ok(PublicKey::of_kccs(SignatureAlgorithm::Es256, cred).map(|key| EligibleCredential::new(cred, key)))
    }

    fn kdc_identity(&self) -> Option<&Identity> {
        Some(&self.identity)
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime)
    }

    fn material(&self) -> &dyn KeyingMaterialProducer {
        self
    }

    /// A sender says how much it needs; what it had before is given back.
    fn joins(&self, join: &ProfileJoin<'_, '_>) -> Result<ProfileJoined, Stop> {
        let id = join.node.as_str().as_bytes();
        let Some(ssrc) = join.sender_id else { return Ok(ProfileJoined::changed(without_stream(id))) };
        let own = join.records.get::<Stream>(STREAMS, id)?;
        let wanted = join.parameter(&BITRATE).and_then(RawCbor::as_uint);
        let bitrate = wanted.ok_or(Refusal::BadRequest("a sender says its bit rate"))?;
        let used =
            join.records.list::<Stream>(STREAMS)?.iter().fold(0, |sum, stream| stream.bitrate.saturating_add(sum));
        let free = self.max_bitrate.saturating_sub(used).saturating_add(own.map_or(0, |own| own.bitrate));
        let title = "The group has not that many kbit/s left.";
        let refusal = Refusal::Problem { status: Status::Forbidden, id: NO_BITRATE, title };
        let left = free.checked_sub(bitrate).ok_or(refusal)?;
        let title = own.map(|own| own.title.clone()).unwrap_or_default();
        let mut changes = OwnChanges::default();
        changes.put(STREAMS, id, Stream { ssrc: ssrc.as_bytes().to_vec(), bitrate, title });
        Ok(ProfileJoined::changed(changes).with_parameter(BITRATE, RawCbor::uint(left)))
    }

    fn leaves(&self, member: CallingMember<'_>) -> OwnChanges {
        without_stream(member.node.as_str().as_bytes())
    }

    fn routes(&self) -> &'static [ProfileRoute] {
        &[READ, WRITE]
    }

    fn serve(&self, request: &ProfileRequest<'_, '_>) -> Result<ProfileOutcome, Stop> {
        let Some(ssrc) = request.below else {
            let streams = request.records.list::<Stream>(STREAMS)?.into_iter().map(|stream| {
                let (ssrc, bitrate) = (RawCbor::bytes(&stream.ssrc), RawCbor::uint(stream.bitrate));
                RawCbor::array(&[ssrc, bitrate, RawCbor::text(&stream.title)])
            });
            return Ok(ProfileOutcome::content(RawCbor::array(&streams.collect::<Vec<_>>()).as_bytes().to_vec()));
        };
        let sender = request.member.filter(|member| member.sender_id.is_some_and(|own| own.to_string() == ssrc));
        let id = sender.ok_or(Refusal::Forbidden("another member's stream"))?.node.as_str().as_bytes();
        let stream = request.records.get::<Stream>(STREAMS, id)?.ok_or(Refusal::NotFound)?;
        let title = RawCbor::new(&request.request.payload).ok().and_then(|item| item.to_text());
        let title = title.ok_or(Refusal::BadRequest("a title is text"))?;
        let mut changes = OwnChanges::default();
        changes.put(STREAMS, id, Stream { title, ..stream.clone() });
        Ok(ProfileOutcome::changed(changes).with_changed("streams"))
    }
}

/// What a node has sent goes, and gives its kbit/s back.
fn without_stream(node: &[u8]) -> OwnChanges {
    let mut changes = OwnChanges::default();
    changes.delete(STREAMS, node);
    changes
}

impl KeyingMaterialProducer for MediaGroup {
    fn key_type(&self) -> Label {
        Label::Int(NUMBER)
    }

    fn fresh(&self, random: &dyn Fn(&'static str) -> [u8; 32]) -> Secret {
        let (key, salt) = (random("master key"), random("master salt"));
        Secret::new(key.iter().take(self.key_len).chain(salt.iter().take(self.salt_len)).copied().collect())
    }

    fn key(&self, secret: &Secret, gid: &Gid, audience: KeyAudience<'_>) -> Option<RawCbor> {
        let (key, salt) = secret.expose().split_at_checked(self.key_len)?;
        let mut parts = [key, salt, gid.as_bytes()].map(RawCbor::bytes).to_vec();
        if let KeyAudience::Node { sender_id: Some(ssrc), .. } = audience {
            parts.push(RawCbor::bytes(ssrc.as_bytes()));
        }
        Some(RawCbor::array(&parts))
    }
}
