//! Backups, restores, checks and new storage keys, of a KDC that runs and of one that does not.

use ace_backend_daemon::{
    Loaded, Maintenance, Opened, ProgramError, Role, Running, StorageConfig, StorageOf, control_path, maintain,
    new_storage_keys, open_storage,
};
use ace_backend_disk::{DiskSettings, DiskStorage};
use ace_backend_tokio::backup;
use ace_groupcomm::keys;
use ace_groupcomm::traits::storage::{Key, Storage, Txn};
use ace_peers::Postgres;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Does what a command says, at the storage with this URL.
async fn maintain_at(
    role: Role,
    command: &Maintenance,
    url: &str,
    config: &StorageConfig,
    tell: &mut (dyn FnMut(String) -> Result<(), ProgramError> + Send),
) -> Result<(), ProgramError> {
    let control = control_path(None, Path::new(""), url)?;
    let storage = StorageOf { role, url, config, file: Path::new(""), control: control.as_deref() };
    maintain(storage, command, tell).await
}

struct House {
    folder: TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        new_storage_keys(&house.path("keys.toml")).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("disk:{}", self.path(name).display())
    }

    fn config(&self) -> StorageConfig {
        StorageConfig { keys: Some(self.path("keys.toml")), ..StorageConfig::default() }
    }

    async fn start(&self, name: &str) -> Running {
        let text =
            include_str!("../kdc.toml").replace("# storage =", "storage =").replace("storage-keys.toml", "keys.toml");
        let mut loaded: Loaded<ace_kdc::Config> = Loaded::parse(&self.path("kdc.toml"), text).unwrap();
        loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
        ace_kdc::start(&loaded, &self.url(name), &ace_kdc::Options::default()).await.unwrap()
    }

    async fn open(&self, name: &str) -> Opened {
        open_storage(&self.url(name), &self.config(), Path::new(""), Role::Kdc).await.unwrap()
    }

    async fn run(&self, role: Role, name: &str, command: Maintenance) -> Result<String, ProgramError> {
        let mut told = String::new();
        let mut tell = |words: String| {
            told.push_str(&words);
            Ok(())
        };
        maintain_at(role, &command, &self.url(name), &self.config(), &mut tell).await.map(|()| told)
    }

    async fn backup(&self, name: &str, file: &str) -> Result<String, ProgramError> {
        self.run(Role::Kdc, name, Maintenance::Backup { file: self.path(file) }).await
    }

    async fn restore(&self, name: &str, file: &str) -> Result<String, ProgramError> {
        self.run(Role::Kdc, name, Maintenance::Restore { file: self.path(file), revoked: None }).await
    }

    async fn check(&self, name: &str) -> Result<String, ProgramError> {
        self.run(Role::Kdc, name, Maintenance::Check).await
    }

    async fn gid(&self, name: &str) -> Vec<u8> {
        let storage = self.open(name).await.storage;
        let gids = storage.scan(&Key::new("gid/"), None, 10).await.unwrap().records;
        gids.last().unwrap().0.as_bytes().to_vec()
    }
}

fn words(result: Result<String, ProgramError>) -> String {
    result.unwrap_or_else(|error| error.to_string())
}

#[tokio::test]
async fn a_backup_of_a_running_kdc_is_restored_elsewhere() {
    let house = House::new();
    let running = house.start("state").await;
    assert!(words(house.check("state").await).contains("2 groups"));
    let told = words(house.backup("state", "a.backup").await);
    assert!(told.contains("records in"), "{told}");
    assert!(words(house.backup("state", "a.backup").await).contains("exists"), "nothing is written over");
    running.stop().await;
    assert!(
        !house.path("state/control").exists() || house.backup("state", "b.backup").await.is_ok(),
        "stopped as well"
    );

    assert!(words(house.restore("state", "a.backup").await).contains("not empty"));
    assert!(words(house.restore("other", "a.backup").await).ends_with("restored"));
    let before = house.gid("state").await;
    assert!(words(house.check("other").await).contains("2 groups"), "clean before it was ever started");
    house.start("other").await.stop().await;
    assert_ne!(house.gid("other").await, before);
    assert!(house.check("other").await.is_ok());
}

#[tokio::test]
async fn a_backup_that_is_not_whole_or_not_ours_begins_nothing() {
    let house = House::new();
    house.start("state").await.stop().await;
    house.backup("state", "a.backup").await.unwrap();
    let whole = std::fs::read(house.path("a.backup")).unwrap();
    std::fs::write(house.path("short"), &whole[..whole.len() - 1]).unwrap();
    assert!(words(house.restore("other", "short").await).contains("not whole"));
    assert!(words(house.restore("other", "nowhere").await).contains("nowhere"));
    let of_as =
        house.run(Role::AuthServer, "other", Maintenance::Restore { file: house.path("a.backup"), revoked: None });
    assert!(words(of_as.await).contains("not of \"as\""));
    std::fs::write(house.path("revoked"), "00ff\nxyz\n").unwrap();
    let revoked = Some(house.path("revoked"));
    let with =
        house.run(Role::Kdc, "other", Maintenance::Restore { file: house.path("a.backup"), revoked: revoked.clone() });
    assert!(words(with.await).contains("line 2"));
    // With other keys it does not open.
    std::fs::rename(house.path("keys.toml"), house.path("old.toml")).unwrap();
    new_storage_keys(&house.path("keys.toml")).unwrap();
    assert!(house.restore("other", "a.backup").await.is_err());
    assert!(!house.path("other").exists(), "nothing was begun");
    std::fs::rename(house.path("old.toml"), house.path("keys.toml")).unwrap();
    std::fs::write(house.path("revoked"), "00ff\n\n").unwrap();
    let with = house.run(Role::Kdc, "other", Maintenance::Restore { file: house.path("a.backup"), revoked });
    assert!(with.await.is_ok());
    let storage = house.open("other").await.storage;
    assert!(storage.read(&[keys::revoked(&b"\x00\xff".into())]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_restore_that_has_not_ended_is_no_state_to_start_from() {
    let house = House::new();
    let storage = house.open("state").await.storage;
    storage.commit(vec![Txn { expect: vec![], write: vec![(keys::restoring(), Some("1".into()))] }]).await;
    drop(storage);
    let refused = open_storage(&house.url("state"), &house.config(), Path::new(""), Role::Kdc).await.err().unwrap();
    assert!(refused.to_string().contains("a restore has not ended"), "{refused}");
    assert!(words(house.check("state").await).contains("is wrong"));
    // Nor is it worth a backup; one that was made all the same restores nothing.
    assert!(words(house.backup("state", "a.backup").await).contains("has not ended"));
    let raw = DiskStorage::open(&house.path("state"), &DiskSettings::default()).unwrap();
    let mut file = tokio::fs::File::create(house.path("a.backup")).await.unwrap();
    backup::write(&*raw.snapshot().await.unwrap(), "kdc", &mut file, |_| ()).await.unwrap();
    file.sync_all().await.unwrap();
    assert!(words(house.restore("other", "a.backup").await).contains("has not ended"));
    assert!(!house.path("other").exists());
}

/// With a path that is too long for a socket nobody takes commands: what does not run can be worked on.
#[tokio::test]
async fn a_long_path_has_backups_while_nothing_runs() {
    let house = House::new();
    let name = "x".repeat(120);
    let running = house.start(&name).await;
    assert!(words(house.backup(&name, "a.backup").await).contains("in use"));
    running.stop().await;
    house.backup(&name, "a.backup").await.unwrap();
    assert!(house.check(&name).await.is_ok());
}

#[tokio::test]
async fn a_process_with_other_keys_is_not_taken_for_one_that_rotates() {
    let house = House::new();
    let running = house.start("state").await;
    // The service has a copy of the file, as systemd makes one.
    std::fs::copy(house.path("keys.toml"), house.path("other.toml")).unwrap();
    let config = StorageConfig { keys: Some(house.path("other.toml")), ..StorageConfig::default() };
    let rotate = Maintenance::RotateStorageKey { prepare: false };
    let rotated = maintain_at(Role::Kdc, &rotate, &house.url("state"), &config, &mut |_| Ok(())).await;
    let why = rotated.unwrap_err().to_string();
    assert!(why.contains("seals with key 1") && why.contains("keys.toml"), "{why}");
    running.stop().await;
    let kept = std::fs::read_to_string(house.path("other.toml")).unwrap();
    assert!(kept.contains("number = 1") && kept.contains("number = 2"), "nothing is dropped: {kept}");
    house.open("state").await;
}

/// Who changes the keys may be another user than the service that reads them.
#[cfg(unix)]
#[tokio::test]
async fn a_file_of_keys_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    let house = House::new();
    house.start("state").await.stop().await;
    if chown(house.path("keys.toml"), Some(12_345), Some(54_321)).is_err() {
        eprintln!("not root: nobody's file can be given away");
        return;
    }
    house.run(Role::Kdc, "state", Maintenance::RotateStorageKey { prepare: false }).await.unwrap();
    for name in ["keys.toml", "keys.toml.former"] {
        let file = std::fs::metadata(house.path(name)).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (12_345, 54_321, 0o600), "{name}");
    }
}

#[tokio::test]
async fn a_restore_leaves_the_anchor_of_what_runs() {
    let house = House::new();
    let anchored = |name: &str| StorageConfig { anchor: Some(house.path(name)), ..house.config() };
    house.start("state").await.stop().await;
    house.backup("state", "a.backup").await.unwrap();
    let running = open_storage(&house.url("state"), &anchored("anchor"), Path::new(""), Role::Kdc).await.unwrap();
    let restore = Maintenance::Restore { file: house.path("a.backup"), revoked: None };
    let into = |config: StorageConfig| {
        let (url, restore) = (house.url("other"), restore.clone());
        async move { maintain_at(Role::Kdc, &restore, &url, &config, &mut |_| Ok(())).await }
    };
    let refused = into(anchored("anchor")).await.unwrap_err().to_string();
    assert!(refused.contains("in use"), "{refused}");
    assert!(house.path("anchor").exists());
    drop(running);
    into(anchored("anchor")).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_told_with_a_status() {
    let house = House::new();
    house.start("state").await.stop().await;
    let storage = house.open("state").await.storage;
    storage.commit(vec![Txn { expect: vec![], write: vec![(keys::name("ghost"), Some("x".into()))] }]).await;
    drop(storage);
    let mut told = String::new();
    let mut tell = |words: String| {
        told.push_str(&words);
        Ok(())
    };
    let checked = maintain_at(Role::Kdc, &Maintenance::Check, &house.url("state"), &house.config(), &mut tell).await;
    assert_eq!(checked.unwrap_err().to_string(), "1 of what is stored is wrong");
    assert!(told.contains("n/ghost: cannot be read"), "{told}");
}

// Covers: TH-5-05/backup-key
#[tokio::test]
async fn a_storage_key_is_rotated_while_the_kdc_runs_and_while_it_does_not() {
    let house = House::new();
    let rotate = |prepare| house.run(Role::Kdc, "state", Maintenance::RotateStorageKey { prepare });
    let keys = |name: &str| std::fs::read_to_string(house.path(name)).unwrap();
    let numbers = |name: &str| (1..=4).filter(|n| keys(name).contains(&format!("number = {n}"))).collect::<Vec<_>>();
    let running = house.start("state").await;
    house.backup("state", "first.backup").await.unwrap();
    let told = words(rotate(false).await);
    assert!(told.contains("sealed with key 2") && !told.starts_with("0 "), "{told}");
    assert_eq!((numbers("keys.toml"), numbers("keys.toml.former")), (vec![2], vec![1, 2]));
    running.stop().await;
    assert!(house.check("state").await.is_ok());
    // In two steps: nothing is sealed with the new key before it is known everywhere.
    for _ in 0..2 {
        rotate(true).await.unwrap();
        assert!(keys("keys.toml").contains("active = 2"));
        assert_eq!(numbers("keys.toml"), [2, 3]);
    }
    house.start("state").await.stop().await;
    rotate(false).await.unwrap();
    assert!(keys("keys.toml").contains("active = 3"));
    assert_eq!((numbers("keys.toml"), numbers("keys.toml.former")), (vec![3], vec![1, 2, 3]));
    let gid = house.gid("state").await;
    house.start("state").await.stop().await;
    assert_eq!(house.gid("state").await, gid);
    #[cfg(unix)]
    for name in ["keys.toml", "keys.toml.former", "first.backup"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(house.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // The first backup needs the first key, which two rotations have kept.
    assert!(words(house.restore("other", "first.backup").await).contains("storage key 1 is not there"));
    std::fs::copy(house.path("keys.toml.former"), house.path("keys.toml")).unwrap();
    assert!(house.restore("other", "first.backup").await.is_ok());
}

// Covers: TH-5-04/swap-reported
#[tokio::test]
async fn values_that_were_swapped_are_told() {
    let house = House::new();
    house.start("state").await.stop().await;
    let raw = DiskStorage::open(&house.path("state"), &DiskSettings::default()).unwrap();
    let names = ["lamps", "alarms"].map(keys::name);
    let found = raw.read(&names).await.unwrap();
    let values = found.into_iter().map(|record| record.map(|record| record.value));
    let write = names.into_iter().rev().zip(values).collect();
    raw.commit(vec![Txn { expect: vec![], write }]).await;
    drop(raw);
    let mut told = String::new();
    let mut tell = |words: String| {
        told.push_str(&words);
        Ok(())
    };
    let checked = maintain_at(Role::Kdc, &Maintenance::Check, &house.url("state"), &house.config(), &mut tell).await;
    assert!(checked.is_err());
    assert!(told.contains("n/lamps: cannot be read") && told.contains("n/alarms: cannot be read"), "{told}");
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing() {
    let house = House::new();
    std::fs::write(house.path("a.new"), "mine").unwrap();
    assert!(house.run(Role::Kdc, "nowhere/deep", Maintenance::Backup { file: house.path("a.backup") }).await.is_err());
    let mut left: Vec<_> =
        std::fs::read_dir(house.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.new", "keys.toml"]);
    assert_eq!(std::fs::read_to_string(house.path("a.new")).unwrap(), "mine");
}

// Covers: TH-5-01/file-anchor, TH-5-01/row-anchor
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_is_behind_its_anchor() {
    let Some(server) = Postgres::start() else { return };
    let house = House::new();
    let config = StorageConfig { anchor: Some(house.path("anchor")), ..house.config() };
    let url = server.url();
    let open = || open_storage(&url, &config, Path::new(""), Role::Kdc);
    let put = async |opened: &Opened, name: &str| {
        let write = vec![(keys::name(name), Some("x".into()))];
        opened.storage.commit(vec![Txn { expect: vec![], write }]).await
    };
    let opened = open().await.unwrap();
    put(&opened, "a").await;
    server.sql("CREATE TABLE kept AS TABLE ace_kdc.record");
    let revision = server.sql("SELECT last_value FROM ace_kdc.revision");
    put(&opened, "b").await;
    // Commands need no anchor; another process needs one of its own.
    let run = |command: Maintenance| {
        let (url, config) = (url.clone(), config.clone());
        async move { maintain_at(Role::Kdc, &command, &url, &config, &mut |_| Ok(())).await }
    };
    run(Maintenance::Backup { file: house.path("a.backup") }).await.unwrap();
    assert!(open().await.err().unwrap().to_string().contains("use"));
    drop(opened);
    drop(open().await.unwrap());

    server.sql("TRUNCATE ace_kdc.record");
    server.sql("INSERT INTO ace_kdc.record SELECT * FROM kept");
    server.sql(&format!("SELECT setval('ace_kdc.revision', {revision})"));
    let refused = open().await.err().unwrap().to_string();
    assert!(refused.contains("an older one"), "{refused}");

    let restore = || run(Maintenance::Restore { file: house.path("a.backup"), revoked: None });
    assert!(restore().await.unwrap_err().to_string().contains("not empty"));
    assert!(house.path("anchor").exists());
    server.sql("DROP SCHEMA ace_kdc CASCADE");
    restore().await.unwrap();
    assert!(!house.path("anchor").exists(), "that of what was there before");
    drop(open().await.unwrap());
    drop(open().await.unwrap());
}
