//! Storage in a PostgreSQL database.

use super::{StorageConfig, failed};
use crate::{ProgramError, Role};
use ace_backend_postgres::{PostgresSettings, PostgresStorage};
use ace_backend_sealed::Anchored;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::storage::Storage;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) async fn open(
    url: &str,
    config: &StorageConfig,
    file: &Path,
    role: Role,
    anchor: Option<&Path>,
) -> Result<Arc<dyn Storage>, ProgramError> {
    let password = config.password.as_ref().map(|path| password(&StorageConfig::beside(file, path)));
    let settings = PostgresSettings {
        password: password.transpose()?,
        schema: format!("ace_{}", role.name()),
        certificates: config.certificates.as_ref().map(|path| StorageConfig::beside(file, path)),
        accept_timeline: config.accept_timeline,
        ..PostgresSettings::default()
    };
    let storage = PostgresStorage::open(url, settings).await.map_err(|error| failed(url, error))?;
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let Some(anchor) = anchor else { return Ok(storage) };
    Ok(Arc::new(Anchored::open(storage, anchor).await.map_err(|why| failed(url, why))?))
}

/// The password that a file holds, which may end with a line's end.
fn password(path: &Path) -> Result<Secret, ProgramError> {
    let text = std::fs::read(path).map_err(|source| ProgramError::File { path: path.to_path_buf(), source })?;
    let text = Zeroizing::new(text);
    Ok(Secret::new(text.trim_ascii_end().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_stands_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\n").unwrap();
        assert_eq!(password(&path).unwrap().expose(), b"open sesame");
        assert!(password(&folder.path().join("nowhere")).unwrap_err().to_string().contains("nowhere"));
    }
}
