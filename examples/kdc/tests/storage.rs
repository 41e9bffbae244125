//! State on disk: there after a restart, sealed, and for one process.

use ace_backend_daemon::{Loaded, Role, Running, StorageConfig, new_storage_keys, open_storage};
use ace_groupcomm::keys;
use std::path::Path;
use tempfile::TempDir;

struct House {
    folder: TempDir,
    url: String,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        new_storage_keys(&folder.path().join("keys.toml")).unwrap();
        let url = format!("disk:{}", folder.path().join("state").display());
        Self { folder, url }
    }

    fn keys(&self) -> std::path::PathBuf {
        self.folder.path().join("keys.toml")
    }

    async fn start(&self, keys: &str) -> Result<Running, String> {
        let text = include_str!("../kdc.toml").replace("audience =", &format!("{keys}\naudience ="));
        let mut loaded: Loaded<ace_kdc::Config> = Loaded::parse(&self.folder.path().join("kdc.toml"), text).unwrap();
        loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
        ace_kdc::start(&loaded, &self.url, &ace_kdc::Options::default()).await.map_err(|error| error.to_string())
    }

    async fn group(&self) -> Vec<u8> {
        let config = StorageConfig { keys: Some(self.keys()), ..StorageConfig::default() };
        let storage = open_storage(&self.url, &config, Path::new(""), Role::Kdc).await.unwrap().storage;
        storage.read(&[keys::name("lamps")]).await.unwrap().pop().unwrap().unwrap().value.to_vec()
    }
}

const KEYS: &str = "storage = { keys = \"keys.toml\" }";

#[tokio::test]
async fn groups_are_there_after_a_restart_and_sealed() {
    let house = House::new();
    house.start(KEYS).await.unwrap().stop().await;
    let group = house.group().await;
    assert!(!group.is_empty());
    house.start(KEYS).await.unwrap().stop().await;
    assert_eq!(house.group().await, group, "the same group, not another of its name");
    // With other keys nothing can be read.
    std::fs::remove_file(house.keys()).unwrap();
    new_storage_keys(&house.keys()).unwrap();
    let error = house.start(KEYS).await.err().unwrap();
    assert!(error.contains("does not open with these keys"), "{error}");
}

// Covers: TH-5-01/file-anchor
#[tokio::test]
async fn an_anchor_elsewhere_sees_that_the_folder_is_an_old_one() {
    let house = House::new();
    let keys = "storage = { keys = \"keys.toml\", anchor = \"anchor\" }";
    house.start(keys).await.unwrap().stop().await;
    assert!(house.folder.path().join("anchor").exists());
    let copy = house.folder.path().join("copy");
    let state = house.folder.path().join("state");
    copy_folder(&state, &copy);
    house.start(keys).await.unwrap().stop().await;
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&copy, &state).unwrap();
    let error = house.start(keys).await.err().unwrap();
    assert!(error.contains("was acknowledged"), "{error}");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let house = House::new();
    let running = house.start(KEYS).await.unwrap();
    let error = house.start(KEYS).await.err().unwrap();
    assert!(error.contains("in use by another process"), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_stored_without_keys_of_ones_own() {
    let house = House::new();
    let error = house.start("").await.err().unwrap();
    assert!(error.contains("[storage]") && error.contains("new-storage-keys"), "{error}");
    assert!(new_storage_keys(&house.keys()).is_err(), "keys that are there are not overwritten");
    assert!(!Path::new(house.url.trim_start_matches("disk:")).exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(house.keys(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = house.start(KEYS).await.err().unwrap();
        assert!(error.contains("chmod 600"), "{error}");
    }
    std::fs::write(house.keys(), "active = 2\n[[key]]\nnumber = 1\nsecret = \"00\"\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(house.keys(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let error = house.start(KEYS).await.err().unwrap();
    assert!(error.contains("storage key 1 must have 32 bytes"), "{error}");
}
