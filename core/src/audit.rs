//! What an operator has to be able to look up later: who joined and who was put out, which groups came and went, what was
//! refused (Group OSCORE profile section 15.1). No entry holds a key, a token or a message.
//!
//! Entries are events of `tracing` with the target [`TARGET`], said when what they tell is durable. A program sends them where
//! its log does not go; `ace-backend-daemon` has a file for them.

use crate::id::Gid;
use crate::id::NodeName;
use crate::id::SenderId;
use crate::schema::records::{MemberRecord, Principal, RekeyReason};
use std::borrow::Cow;
use std::fmt::Write;

/// The target of the events.
pub const TARGET: &str = "ace_groupcomm::audit";

/// One entry. What does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What has happened, in a few fixed words, e.g. `member joined`.
    pub event: &'static str,
    /// The GROUPNAME, where it concerns a group.
    pub group: Option<String>,
    /// The issuer of a client's token, and the client's name there.
    pub client: Option<(String, String)>,
    /// The NODENAME, where it concerns a membership.
    pub node: Option<NodeName>,
    /// The member's Sender ID, where it has one.
    pub sender_id: Option<SenderId>,
    /// Why, in a few fixed words, where there are several reasons.
    pub reason: Option<Cow<'static, str>>,
    /// The version of the keying material, and the Gid.
    pub version: Option<(u64, Gid)>,
}

/// Returns two hexadecimal digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Entry {
    /// Something happened to a group.
    pub(crate) fn of_group(event: &'static str, gname: &str) -> Self {
        Self { event, group: Some(gname.into()), ..Self::default() }
    }

    /// Something happened to a client.
    pub(crate) fn of_client(event: &'static str, client: &Principal) -> Self {
        Self { event, client: Some((client.issuer.clone(), client.subject.clone())), ..Self::default() }
    }

    /// Something happened to a member of a group.
    pub(crate) fn of_member(event: &'static str, gname: &str, client: &Principal, member: &MemberRecord) -> Self {
        Self {
            group: Some(gname.into()),
            node: Some(member.node.clone()),
            sender_id: member.sender_id.clone(),
            ..Self::of_client(event, client)
        }
    }

    pub(crate) fn because(mut self, why: RekeyReason) -> Self {
        self.reason = Some(why.words().into());
        self
    }

    /// The same for several reasons.
    pub(crate) fn because_all<'a>(mut self, reasons: impl IntoIterator<Item = &'a RekeyReason>) -> Self {
        let words: Vec<&str> = reasons.into_iter().map(|reason| reason.words()).collect();
        self.reason = Some(words.join(", ").into());
        self
    }

    pub(crate) fn with_version(mut self, num: u64, gid: &Gid) -> Self {
        self.version = Some((num, gid.clone()));
        self
    }

    /// Writes the entry to the log, at the target [`TARGET`].
    pub(crate) fn say(&self) {
        let (issuer, subject) = self.client.as_ref().map(|(issuer, subject)| (&**issuer, &**subject)).unzip();
        let (num, gid) = self.version.as_ref().map(|(num, gid)| (*num, gid.to_string())).unzip();
        let sender_id = self.sender_id.as_ref().map(ToString::to_string);
        tracing::info!(
            target: TARGET,
            event = self.event,
            group = self.group.as_deref(),
            issuer,
            subject,
            node = self.node.as_ref().map(NodeName::as_str),
            sender_id = sender_id.as_deref(),
            reason = self.reason.as_deref(),
            num,
            gid = gid.as_deref(),
        );
    }
}
