//! Authorization Server, KDC and three members in one process, over real UDP on loopback: the whole way from a
//! registration to keys that are equal. Then one leaves, and the token of another is revoked: each time the others get new keys.
//!
//! The servers and members are those of the programs, with the sample configurations, on ports that are free.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)
)]

use ace_backend_daemon::{Loaded, ProgramError};
use ace_groupcomm::config::ConfigValue;
use ace_groupcomm::member::Operation;
use ace_member::show::{ShownExchange, Style};
use ace_member::{Member, MemberSettings, export};
use serde_json::{Value, json};
use std::net::SocketAddr;

mod life;

use life::goes_on;

/// The sample configurations.
const AS: &str = include_str!("../../as/as.toml");
const KDC: &str = include_str!("../../kdc/kdc.toml");
const MEMBERS: [(&str, &str); 3] = [
    ("member.toml", include_str!("../../member/member.toml")),
    ("switch.toml", include_str!("../../member/switch.toml")),
    ("sensor.toml", include_str!("../../member/sensor.toml")),
];

/// How the demo runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether secrets are shown.
    pub show_secrets: bool,
}

impl Options {
    fn style(self) -> Style {
        Style { secrets: self.show_secrets, ..Style::default() }
    }
}

/// Who holds which keys.
#[derive(Clone, Debug)]
pub struct Held {
    /// One object for each member: name, group, sender_id, num, key_digest.
    pub members: Vec<Value>,
    /// Whether all have the same keys.
    pub equal: bool,
}

impl Held {
    fn new(members: Vec<Value>) -> Self {
        let digests: Vec<_> = members.iter().map(|member| member.get("key_digest")).collect();
        let equal =
            digests.windows(2).all(|pair| matches!(pair, [a, b] if a == b)) && digests.iter().all(Option::is_some);
        Self { members, equal }
    }

    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "members": self.members, "equal": self.equal })
    }

    /// Whether the version is newer than the former one, and none of its keys the same.
    fn replaces(&self, former: &Self) -> bool {
        let newest = |held: &Self| held.members.iter().filter_map(|member| member.get("num")?.as_i64()).max();
        let digest = |held: &Self| held.members.first().and_then(|member| member.get("key_digest").cloned());
        self.equal && newest(self) > newest(former) && digest(self) != digest(former)
    }
}

/// What the demo came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// After all have joined.
    pub joined: Held,
    /// After one has left, and the others were rekeyed.
    pub after: Held,
    /// Who has left: the names.
    pub left: Vec<String>,
    /// After a token was revoked, and the others were rekeyed.
    pub after_revocation: Held,
    /// Whose token was revoked: the names.
    pub revoked: Vec<String>,
}

impl Outcome {
    /// Whether all who are members hold the same keys each time, and others each time than before.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.joined.equal && self.after.replaces(&self.joined) && self.after_revocation.replaces(&self.after)
    }

    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "members": self.joined.members,
            "equal": self.joined.equal,
            "after": self.after.json(),
            "left": self.left,
            "after_revocation": self.after_revocation.json(),
            "revoked": self.revoked,
        })
    }
}

pub(crate) fn other(error: impl std::fmt::Display) -> ProgramError {
    ProgramError::Other(error.to_string())
}

/// Runs it; `tell` gets each exchange, with a heading before each part.
///
/// # Errors
/// [`ProgramError`], where a server cannot be started or a member is refused.
pub async fn run(options: Options, mut tell: impl FnMut(Shown) + Send) -> Result<Outcome, ProgramError> {
    let folder = tempfile::tempdir().map_err(other)?;
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut auth_server: Loaded<ace_as::Config> = Loaded::parse(&folder.path().join("as.toml"), AS.into())?;
    auth_server.config.listen = vec![any];
    let auth_server = ace_as::start(&auth_server, "memory:").await?;
    let mut kdc: Loaded<ace_kdc::Config> = Loaded::parse(&folder.path().join("kdc.toml"), KDC.into())?;
    kdc.config.listen = vec![any];
    for group in &mut kdc.config.groups {
        // Nobody waits long for what is shown.
        group.parameters.insert("rekey_delay", ConfigValue::Int(1));
    }
    let kdc = ace_kdc::start(&kdc, "memory:", &ace_kdc::Options::default()).await?;
    let addresses = (auth_server.addresses.first().copied(), kdc.addresses.first().copied());
    let (Some(as_address), Some(kdc_address)) = addresses else { return Err(other("nobody listens")) };

    let mut settings = Vec::new();
    for (file, text) in MEMBERS {
        let mut loaded: Loaded<ace_member::Config> = Loaded::parse(&folder.path().join(file), text.into())?;
        loaded.config.auth_server.address = as_address;
        loaded.config.kdc.address = kdc_address;
        settings.push(MemberSettings::new(&loaded)?);
    }
    for settings in &settings {
        member(settings, options, &mut tell).await?;
    }
    let mut members = Vec::new();
    for settings in &settings {
        members.push(keys(settings, options, &mut tell).await?);
    }
    let joined = Held::new(members);
    let outcome = match settings.as_slice() {
        [lamp, switch, sensor] => goes_on(&kdc, (lamp, switch, sensor), joined, options, &mut tell).await,
        _ => Err(other("three members were to join")),
    };
    kdc.stop().await;
    auth_server.stop().await;
    outcome
}

/// Something to be shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A part begins.
    Heading(String),
    /// Two parties have talked.
    Exchange(ShownExchange),
    /// What the application of a member is told.
    Event(Value),
}

async fn member(
    settings: &MemberSettings,
    options: Options,
    tell: &mut (impl FnMut(Shown) + Send),
) -> Result<(), ProgramError> {
    tell(Shown::Heading(format!("{} gets a token and joins {}", settings.config.name, settings.config.group.name)));
    let observer = |event| tell(Shown::Exchange(event));
    let mut member = Member::open(settings, options.style(), observer).map_err(other)?;
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        member.run(operation).await.map_err(other)?;
    }
    member.close().map_err(other)
}

async fn keys(
    settings: &MemberSettings,
    options: Options,
    tell: &mut (impl FnMut(Shown) + Send),
) -> Result<Value, ProgramError> {
    tell(Shown::Heading(format!("{} asks for the keys and for the others' credentials", settings.config.name)));
    let observer = |event| tell(Shown::Exchange(event));
    let mut member = Member::open(settings, options.style(), observer).map_err(other)?;
    for operation in [Operation::Keys, Operation::Creds] {
        member.run(operation).await.map_err(other)?;
    }
    let held = held(&member, options)?;
    member.close().map_err(other)?;
    Ok(held)
}

/// What a member holds, to be compared.
pub(crate) fn held(member: &Member<'_>, options: Options) -> Result<Value, ProgramError> {
    let group = member.group().ok_or_else(|| other("not a member"))?;
    let all = export::group(member.settings(), group, options.show_secrets).map_err(other)?;
    let mut wanted = vec!["name", "group", "sender_id", "num", "key_digest"];
    if options.show_secrets {
        wanted.extend(["ms", "salt", "gid"]);
    }
    let fields = wanted.into_iter().filter_map(|name| Some((name.to_owned(), all.get(name)?.clone())));
    Ok(Value::Object(fields.collect()))
}
