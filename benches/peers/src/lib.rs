//! Other people's implementations as processes: sets up a Python environment with pinned versions, once, and runs
//! scripts in it. The scripts use aiocoap, cbor2 and cryptography, and none of this workspace's code. [`Postgres`] is a
//! PostgreSQL of a test's own, and [`Strace`] kills processes where it is told to. [`toy_wire`] is a second transport for tests.

mod postgres;
mod strace;
pub mod toy_wire;

pub use postgres::Postgres;
pub use strace::Strace;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the scripts.
#[must_use]
pub fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python")
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
}

fn set_up() -> Result<PathBuf, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/peers-venv");
    let requirements = scripts().join("requirements.txt");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = std::fs::read(&requirements).map_err(|error| error.to_string())?;
    // Several test processes may want it at once: one sets it up, the others wait.
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let lock = std::fs::File::create(folder.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if std::fs::read(&stamp).ok().as_deref() != Some(wanted.as_slice()) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        // Dependencies are pinned, all of them, so that none is taken from elsewhere.
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]).arg(&requirements))?;
        std::fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
    }
    Ok(python)
}

/// The interpreter of the environment, which is set up where it is not.
///
/// # Errors
/// Why it cannot be set up: Python 3 with venv has to be there, and a package index within reach.
pub fn python() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(set_up).clone()
}
