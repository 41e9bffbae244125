//! What the first release has stored is read by every later one: a folder, a database, a backup of each program, and the
//! states of members. The files in `first` are that release's; nobody changes them.

use ace_backend_daemon::{Loaded, Maintenance, Role, Running, StorageOf, maintain};
use ace_groupcomm::member::Operation;
use ace_member::show::Style;
use ace_member::{Config, Member, MemberSettings, export};
use ace_peers::Postgres;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A copy of the first release's files.
struct First(TempDir);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

impl First {
    fn new() -> Self {
        let first = Self(tempfile::tempdir().unwrap());
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/first"), first.0.path());
        for name in ["kdc.fjall", "as.fjall"] {
            // An empty folder, which version control leaves out.
            std::fs::create_dir_all(first.path(name).join("tables/tables")).unwrap();
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let keys = first.path("storage-keys.toml");
            std::fs::set_permissions(keys, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        first
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("disk:{}", self.path(name).display())
    }

    async fn kdc(&self, url: &str) -> Running {
        let mut loaded = Loaded::<ace_kdc::Config>::read(&self.path("kdc.toml")).unwrap();
        loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
        // The AS has the same clock: otherwise a token counts as older than a restore for some seconds.
        loaded.config.limits.leeway = 0;
        ace_kdc::start(&loaded, url, &ace_kdc::Options::default()).await.unwrap()
    }

    async fn auth_server(&self, url: &str) -> Running {
        let mut loaded = Loaded::<ace_as::Config>::read(&self.path("as.toml")).unwrap();
        loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
        ace_as::start(&loaded, url).await.unwrap()
    }

    fn member(&self, name: &str, state: &str, kdc: SocketAddr, auth_server: Option<SocketAddr>) -> MemberSettings {
        let mut loaded = Loaded::<Config>::read(&self.path(name)).unwrap();
        loaded.config.state = state.into();
        loaded.config.kdc.address = kdc;
        loaded.config.auth_server.address = auth_server.unwrap_or(loaded.config.auth_server.address);
        MemberSettings::new(&loaded).unwrap()
    }

    async fn maintain(&self, role: Role, url: &str, command: Maintenance) -> String {
        let file = self.path(if role == Role::Kdc { "kdc.toml" } else { "as.toml" });
        let storage = match role {
            Role::Kdc => Loaded::<ace_kdc::Config>::read(&file).unwrap().config.storage,
            Role::AuthServer => Loaded::<ace_as::Config>::read(&file).unwrap().config.storage,
        };
        let mut told = String::new();
        maintain(StorageOf { role, url, config: &storage, file: &file, control: None }, &command, &mut |words| {
            told.push_str(&words);
            Ok(())
        })
        .await
        .unwrap();
        told
    }
}

/// What a member gets that goes on from its state: node, Sender ID and Gid.
async fn rejoined(settings: &MemberSettings, operations: &[Operation]) -> (String, String, String) {
    let mut member = Member::open(settings, Style::default(), |_| ()).unwrap();
    for operation in operations {
        member.run(*operation).await.unwrap();
    }
    let group = member.group().unwrap();
    let shown = export::group(settings, group, false).unwrap();
    let text = |name: &str| shown[name].as_str().unwrap().to_owned();
    let found = (group.node.clone(), text("sender_id"), text("gid"));
    member.close().unwrap();
    found
}

const GID: &str = "000000010000000100000000";

#[tokio::test]
async fn a_folder_is_served_and_its_members_go_on() {
    let first = First::new();
    let url = first.url("kdc.fjall");
    assert!(first.maintain(Role::Kdc, &url, Maintenance::Check).await.contains("1 groups"));
    let kdc = first.kdc(&url).await;
    let lamp = first.member("lamp.toml", "lamp.state", kdc.addresses[0], None);
    let switch = first.member("switch.toml", "switch.state", kdc.addresses[0], None);
    // A state on another machine is not trusted: it joins again, with the token that it has.
    let (node, sender_id, gid) = rejoined(&lamp, &[Operation::Keys]).await;
    assert_eq!((node.as_str(), sender_id.as_str(), gid.as_str()), ("4cd13cd781523b84", "02", GID));
    assert_eq!(rejoined(&switch, &[Operation::Keys]).await.1, "03");
    kdc.stop().await;
    assert!(first.maintain(Role::Kdc, &url, Maintenance::Check).await.contains("1 groups"));
}

#[tokio::test]
async fn a_database_is_served_and_its_members_go_on() {
    let Some(postgres) = Postgres::start() else { return };
    let first = First::new();
    postgres.sql(&std::fs::read_to_string(first.path("kdc.sql")).unwrap());
    let url = postgres.url();
    assert!(first.maintain(Role::Kdc, &url, Maintenance::Check).await.contains("1 groups"));
    let kdc = first.kdc(&url).await;
    let lamp = first.member("lamp.toml", "lamp-of-postgres.state", kdc.addresses[0], None);
    let (_, sender_id, gid) = rejoined(&lamp, &[Operation::Keys]).await;
    assert_eq!((sender_id.as_str(), gid.as_str()), ("02", GID));
    kdc.stop().await;
}

#[tokio::test]
async fn backups_are_restored_and_served() {
    let first = First::new();
    for (role, file) in [(Role::Kdc, "kdc.backup"), (Role::AuthServer, "as.backup")] {
        let restore = Maintenance::Restore { file: first.path(file), revoked: None };
        let told = first.maintain(role, &first.url(file).replace("backup", "restored"), restore).await;
        assert!(told.contains("restored"), "{told}");
    }
    let kdc = first.kdc(&first.url("kdc.restored")).await;
    let auth_server = first.auth_server(&first.url("as.restored")).await;
    // Tokens from before are refused, so there has to be a new one.
    let lamp = first.member("lamp.toml", "lamp.state", kdc.addresses[0], Some(auth_server.addresses[0]));
    let operations = [Operation::Token, Operation::Upload, Operation::Join, Operation::Keys];
    let (_, _, gid) = rejoined(&lamp, &operations).await;
    assert_ne!(gid, GID);
    kdc.stop().await;
    auth_server.stop().await;
}

#[tokio::test]
async fn a_folder_of_an_authorization_server_is_served() {
    let first = First::new();
    let url = first.url("as.fjall");
    let auth_server = first.auth_server(&url).await;
    let nobody = ([127, 0, 0, 1], 1).into();
    let lamp = first.member("lamp.toml", "lamp.state", nobody, Some(auth_server.addresses[0]));
    let mut member = Member::open(&lamp, Style::default(), |_| ()).unwrap();
    member.run(Operation::Token).await.unwrap();
    member.close().unwrap();
    auth_server.stop().await;
    first.maintain(Role::AuthServer, &url, Maintenance::Check).await;
}
