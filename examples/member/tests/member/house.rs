//! An AS, a KDC, and somebody on the way between the KDC and a member, all on loopback.

use ace_backend_daemon::{Loaded, Operator, Role, Running, StorageConfig, open_storage, operate};
use ace_coap::numbers::option;
use ace_coap::{Code, Message, Type};
use ace_groupcomm::command::Command;
use ace_groupcomm::kdc::registrations;
use ace_groupcomm::member::{MemberError, Operation};
use ace_groupcomm_messages::labels::content_format::ACE_CBOR;
use ace_groupcomm_messages::{GroupOscoreInputMaterial, RawCbor, TokenTransferResponse};
use ace_member::show::Style;
use ace_member::{Config, Content, Member, MemberSettings, ProgramError};
use ace_oscore::OscoreOption;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::UdpSocket;

/// What the one on the way does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Nothing.
    #[default]
    None,
    /// Answers each request with resets and refusals before the KDC does.
    Flood,
    /// Answers a token post in the KDC's place.
    FalseAnswer,
}

/// A request under an association, as it can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protected {
    pub(crate) kid: Vec<u8>,
    pub(crate) id_context: Option<Vec<u8>>,
    pub(crate) partial_iv: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct OnTheWay {
    pub(crate) mischief: Mutex<Mischief>,
    /// Token posts that came by.
    pub(crate) posts: Mutex<Vec<Vec<u8>>>,
    /// What came by under an association.
    pub(crate) protected: Mutex<Vec<Protected>>,
    /// What came by without protection, requests and answers: code and path.
    pub(crate) bare: Mutex<Vec<(Code, String)>>,
}

/// Carries datagrams to a server and back.
async fn relay(socket: UdpSocket, server: Arc<Mutex<SocketAddr>>, way: Arc<OnTheWay>) {
    let up = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut client = socket.local_addr().unwrap();
    loop {
        tokio::select! {
            received = socket.recv_from(&mut request) => {
                let (length, from) = received.unwrap();
                client = from;
                let message = Message::decode(&request[..length]).unwrap();
                way.note(&message);
                let forged = way.forge(&message);
                for forged in &forged {
                    socket.send_to(forged, client).await.unwrap();
                }
                let to = *server.lock().unwrap();
                let swallowed = *way.mischief.lock().unwrap() == Mischief::FalseAnswer && !forged.is_empty();
                if !swallowed {
                    up.send_to(&request[..length], to).await.unwrap();
                }
            }
            received = up.recv_from(&mut answer) => {
                let Ok((length, _)) = received else { continue };
                way.note_bare(&Message::decode(&answer[..length]).unwrap());
                socket.send_to(&answer[..length], client).await.unwrap();
            }
        }
    }
}

/// Where a way to this address begins, and what is on it.
async fn carry(to: &Arc<Mutex<SocketAddr>>) -> (SocketAddr, Arc<OnTheWay>) {
    let way = Arc::new(OnTheWay::default());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(relay(socket, Arc::clone(to), Arc::clone(&way)));
    (address, way)
}

impl OnTheWay {
    fn note_bare(&self, message: &Message) {
        if !message.options.has(option::OSCORE) && message.code != Code::EMPTY {
            let path = message.options.uri_path().unwrap().join("/");
            self.bare.lock().unwrap().push((message.code, path));
        }
    }

    fn note(&self, request: &Message) {
        self.note_bare(request);
        let Some(option) = request.options.first(option::OSCORE) else { return };
        let option = OscoreOption::decode(option).unwrap();
        let partial_iv = option.partial_iv.unwrap().bytes();
        let ciphertext = request.payload.clone();
        let OscoreOption { kid, kid_context: id_context, .. } = option;
        self.protected.lock().unwrap().push(Protected { kid: kid.unwrap(), id_context, partial_iv, ciphertext });
    }

    fn forge(&self, request: &Message) -> Vec<Vec<u8>> {
        let post = request.code == Code::POST && !request.options.has(option::OSCORE);
        if post {
            self.posts.lock().unwrap().push(request.payload.clone());
        }
        let answer = |mut answer: Message| {
            (answer.kind, answer.id, answer.token) = (Type::Acknowledgement, request.id, request.token.clone());
            answer.encode()
        };
        match *self.mischief.lock().unwrap() {
            Mischief::None => vec![],
            Mischief::Flood if post => vec![],
            Mischief::Flood => {
                let reset = Message::empty(Type::Reset, request.id).encode();
                let refusal = answer(Message::response(Code::UNAUTHORIZED));
                let lie = answer(Message::response(Code::CHANGED));
                (0..9).flat_map(|_| [reset.clone(), refusal.clone(), lie.clone()]).collect()
            }
            Mischief::FalseAnswer if post => {
                let payload = TokenTransferResponse {
                    nonce2: Some(vec![1; 8]),
                    server_recipient_id: Some(vec![9; 6]),
                    kdcchallenge: Some(vec![1; 8]),
                    ..TokenTransferResponse::default()
                };
                vec![answer(Message::response(Code::CREATED).with_payload(ACE_CBOR, payload.encode()))]
            }
            Mischief::FalseAnswer => vec![],
        }
    }
}

pub(crate) struct House {
    pub(crate) folder: TempDir,
    /// Between the member and the KDC.
    pub(crate) way: Arc<OnTheWay>,
    /// Between the member and the AS.
    pub(crate) way_to_as: Arc<OnTheWay>,
    kdc_address: Arc<Mutex<SocketAddr>>,
    kdc: Option<Running>,
    storage: String,
    _auth_server: Running,
    addresses: (SocketAddr, SocketAddr),
}

/// A topic beside the groups of the samples, and who publishes in it and reads it.
const TOPIC: &str = r#"
[[group]]
name = "weather"
profile = "coap_group_pubsub_app"
parameters = { kdc_key = "73616d706c656b64632d776561746865722e2e2e2e2e2e2e2e2e2e2e2e2e2e2e" }
"#;
const TOPIC_POLICIES: &str = r#"
[[policy]]
client = "lamp"
audience = "kdc1"
group = "weather"
profile = "coap_group_pubsub_app"
roles = "publisher"

[[policy]]
client = "switch"
audience = "kdc1"
group = "weather"
profile = "coap_group_pubsub_app"
roles = "subscriber"
"#;

fn any() -> Vec<SocketAddr> {
    vec![([127, 0, 0, 1], 0).into()]
}

async fn start_kdc(folder: &Path, storage: &str, listen: Vec<SocketAddr>) -> Running {
    let text = include_str!("../../../kdc/kdc.toml").replace("\"alarms\"]", "\"alarms\", \"weather\"]") + TOPIC;
    let mut kdc: Loaded<ace_kdc::Config> = Loaded::parse(&folder.join("kdc.toml"), text).unwrap();
    kdc.config.listen = listen;
    // One who is killed again and again asks more often than any other.
    (kdc.config.limits.pending_per_client, kdc.config.limits.changes_per_hour) = (1_000, 10_000);
    kdc.config.limits.posts_per_second_and_host = 10_000;
    kdc.config.storage.keys = Some("storage-keys.toml".into());
    ace_kdc::start(&kdc, storage, &ace_kdc::Options::default()).await.unwrap()
}

impl House {
    /// A KDC that forgets all when it ends.
    pub(crate) async fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), "memory:".into(), 3_600).await
    }

    /// The same, with tokens that are good for so many seconds.
    pub(crate) async fn with_lifetime(seconds: u64) -> Self {
        Self::with(tempfile::tempdir().unwrap(), "memory:".into(), seconds).await
    }

    /// A KDC whose state is on disk.
    pub(crate) async fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        ace_backend_daemon::new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
        let storage = format!("disk:{}", folder.path().join("state").display());
        Self::with(folder, storage, 3_600).await
    }

    /// A KDC whose state is in a database.
    pub(crate) async fn on_database(url: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        ace_backend_daemon::new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
        Self::with(folder, url, 3_600).await
    }

    /// Another KDC over the same storage, at an address of its own.
    pub(crate) async fn another_kdc(&self) -> Running {
        start_kdc(self.folder.path(), &self.storage, any()).await
    }

    async fn with(folder: TempDir, storage: String, lifetime: u64) -> Self {
        let text = include_str!("../../../as/as.toml").to_owned() + TOPIC_POLICIES;
        let mut auth_server: Loaded<ace_as::Config> = Loaded::parse(&folder.path().join("as.toml"), text).unwrap();
        auth_server.config.listen = any();
        auth_server.config.audiences[0].lifetime = lifetime;
        let of_switch = auth_server.config.policies.iter_mut().find(|policy| policy.client == "switch");
        of_switch.unwrap().roles.push_str("+verifier");
        let auth_server = ace_as::start(&auth_server, "memory:").await.unwrap();
        let kdc = start_kdc(folder.path(), &storage, any()).await;
        let kdc_address = Arc::new(Mutex::new(kdc.addresses[0]));
        let (to_as, way_to_as) = carry(&Arc::new(Mutex::new(auth_server.addresses[0]))).await;
        let (to_kdc, way) = carry(&kdc_address).await;
        let addresses = (to_as, to_kdc);
        Self { folder, way, way_to_as, kdc_address, kdc: Some(kdc), storage, _auth_server: auth_server, addresses }
    }

    /// The KDC ends, and another process takes its place, at the same address.
    pub(crate) async fn restart_kdc(&mut self) {
        let kdc = self.kdc.take().unwrap();
        let listen = kdc.addresses.clone();
        kdc.stop().await;
        self.kdc = Some(start_kdc(self.folder.path(), &self.storage, listen).await);
    }

    /// The KDC, whose state is on disk, is told something.
    pub(crate) async fn operate(&self, operator: Operator) {
        operate(&operator, &self.folder.path().join("state/control"), true).await.unwrap();
    }

    /// The KDC is told something.
    pub(crate) async fn command(&self, command: Command) {
        self.kdc.as_ref().unwrap().handle().command(command).await.unwrap();
    }

    /// How many registrations of observers are stored. The KDC ends and starts meanwhile.
    pub(crate) async fn registrations(&mut self) -> usize {
        let kdc = self.kdc.take().unwrap();
        let listen = kdc.addresses.clone();
        kdc.stop().await;
        let config = StorageConfig { keys: Some("storage-keys.toml".into()), ..StorageConfig::default() };
        let beside = self.folder.path().join("kdc.toml");
        let storage = open_storage(&self.storage, &config, &beside, Role::Kdc).await.unwrap().storage;
        let stored = registrations(&*storage).await.unwrap().len();
        drop(storage);
        self.kdc = Some(start_kdc(self.folder.path(), &self.storage, listen).await);
        stored
    }

    /// The same as [`Self::settings`], of the client named "switch".
    pub(crate) fn switch(&self) -> MemberSettings {
        self.switch_of(std::fs::read_to_string(self.config()).unwrap())
    }

    /// Somebody who publishes in the topic, and somebody who reads it.
    pub(crate) fn of_topic(&self) -> (MemberSettings, MemberSettings) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let of = |roles: &str| {
            let group = format!("name = \"weather\"\nprofile = \"coap_group_pubsub_app\"\nroles = \"{roles}\"");
            let of_topic = text.replace("name = \"lamps\"\nroles = \"responder\"", &group);
            assert!(of_topic != text);
            of_topic
        };
        let publisher = Loaded::<Config>::parse(&self.folder.path().join("lamp.toml"), of("publisher")).unwrap();
        (MemberSettings::new(&publisher).unwrap(), self.switch_of(of("subscriber")))
    }

    fn switch_of(&self, text: String) -> MemberSettings {
        let text = text
            .replace("\"01\"", "\"02\"")
            .replace("6c616d702e2e2e2e2e2e\"", "7377697463682e2e2e2e\"")
            .replace("6b65792d6c616d70", "6b65792d73776974")
            .replace("\"lamp\"", "\"switch\"")
            .replace("lamp.state", "switch.state");
        let mut loaded = Loaded::<Config>::parse(&self.folder.path().join("switch.toml"), text).unwrap();
        // The way is one client's.
        loaded.config.kdc.address = *self.kdc_address.lock().unwrap();
        MemberSettings::new(&loaded).unwrap()
    }

    /// The sample configuration of a member, as a file.
    pub(crate) fn config(&self) -> PathBuf {
        let (auth_server, kdc) = self.addresses;
        let text = include_str!("../../member.toml")
            // With the quotation mark: a port of the one may begin with that of the other.
            .replace("127.0.0.1:5783\"", &format!("{auth_server}\""))
            .replace("127.0.0.1:5683\"", &format!("{kdc}\""));
        let path = self.folder.path().join("member.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The same, read.
    pub(crate) fn settings(&self) -> MemberSettings {
        MemberSettings::new(&Loaded::<Config>::read(&self.config()).unwrap()).unwrap()
    }

    /// The client named "switch", as a verifier of signatures.
    pub(crate) fn verifier(&self) -> MemberSettings {
        let mut settings = self.switch();
        settings.roles = settings.profile.profile.roles_from_names("verifier").unwrap();
        settings
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("lamp.state")
    }

    /// Changes what the state file says, as if it had come about by itself.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Content)) {
        let mut state: Content = serde_json::from_slice(&std::fs::read(self.state()).unwrap()).unwrap();
        change(&mut state);
        std::fs::write(self.state(), serde_json::to_vec(&state).unwrap()).unwrap();
    }

    pub(crate) fn posts(&self) -> usize {
        self.way.posts.lock().unwrap().len()
    }
}

/// Opens the member.
pub(crate) fn open(settings: &MemberSettings) -> Member<'_> {
    Member::open(settings, Style::default(), |_| ()).unwrap()
}

/// Does one thing.
pub(crate) async fn run(member: &mut Member<'_>, operation: Operation) -> Result<(), MemberError> {
    member.run(operation).await.map_err(|error| match error {
        ProgramError::Member(error) => error,
        other => panic!("{other}"),
    })
}

/// Gets the keys.
pub(crate) async fn keys(member: &mut Member<'_>) -> Result<GroupOscoreInputMaterial, MemberError> {
    run(member, Operation::Keys).await?;
    let key = RawCbor::new(&member.group().unwrap().key.0).unwrap();
    Ok(GroupOscoreInputMaterial::decode(&key).unwrap())
}

/// Token, upload and join.
pub(crate) async fn joined(member: &mut Member<'_>) -> Result<(), MemberError> {
    for operation in [Operation::Token, Operation::Upload, Operation::Join] {
        run(member, operation).await?;
    }
    Ok(())
}
