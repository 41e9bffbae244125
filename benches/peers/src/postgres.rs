//! A PostgreSQL server of the test's own, in a temporary folder, as an unprivileged user.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user that runs the server where the tests are root's: PostgreSQL refuses to be.
const USER: &str = "postgres";

/// A server; it ends with this value.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// Where the programs of the newest PostgreSQL are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    let mut found: Vec<PathBuf> = versions.filter(|path| path.join("initdb").exists()).collect();
    found.sort();
    let in_path = std::env::var_os("PATH")?;
    found.pop().or_else(|| std::env::split_paths(&in_path).find(|path| path.join("initdb").exists()))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0"))
}

/// A program of PostgreSQL, as the user that may run it.
fn command(programs: &Path, name: &str) -> Command {
    let program = programs.join(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Postgres {
    /// Starts a server; `None` where there is no PostgreSQL, which is said loudly.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("ACE_REQUIRE_POSTGRES").is_none(), "PostgreSQL is missing");
            eprintln!("\n!!! PostgreSQL IS MISSING: THIS TEST SHOWS NOTHING (apt-get install postgresql)\n");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()));
        }
        let data = folder.path().join("data");
        run(command(&programs, "initdb")
            .args(["-A", "trust", "-U", "ace", "--no-locale", "-E", "UTF8", "-D"])
            .arg(&data));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, programs, port, process: None };
        server.resume(&[]);
        Some(server)
    }

    /// A standby that follows this one, in a folder of its own.
    pub fn standby(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let from = self.url();
        let mut copy = command(&self.programs, "pg_basebackup");
        run(copy.args(["-R", "-X", "stream", "-c", "fast", "-d", &from, "-D"]).arg(folder.path().join("data")));
        let mut standby = Self { folder, programs: self.programs.clone(), port, process: None };
        standby.resume(&["synchronous_standby_names="]);
        standby
    }

    /// Starts it again, with these settings.
    pub fn resume(&mut self, settings: &[&str]) {
        let mut postgres = command(&self.programs, "postgres");
        postgres.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        postgres.args(["-c", "listen_addresses=127.0.0.1", "-p", &self.port.to_string()]);
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        self.process = Some(postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        let port = self.port.to_string();
        let ready = || {
            let mut ask = command(&self.programs, "pg_isready");
            ask.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
        };
        while !ready() {
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, as a crash of the machine would, or in order.
    pub fn stop(&mut self, in_order: bool) {
        let Some(mut process) = self.process.take() else { return };
        let signal = if in_order { "-INT" } else { "-QUIT" };
        let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
        let _ = process.wait();
    }

    /// Puts a file in its folder that it alone can read, as it wants its keys.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("600").arg(&path));
        if is_root() {
            run(Command::new("chown").arg(USER).arg(&path));
        }
        path
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres://ace@127.0.0.1:{}/postgres", self.port)
    }

    /// Has it do something.
    pub fn sql(&self, statement: &str) -> String {
        let mut psql = command(&self.programs, "psql");
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, &self.url()]);
        let output = psql.output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(false);
    }
}
