//! Processes that are killed at a system call, by strace.

use std::path::Path;
use std::process::Command;

/// strace; there where a process may be traced.
#[derive(Clone, Copy, Debug)]
pub struct Strace(());

impl Strace {
    /// Finds it; `None` where there is none, which is said loudly.
    #[must_use]
    pub fn find() -> Option<Self> {
        let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        if tried.is_ok_and(|output| output.status.success()) {
            return Some(Self(()));
        }
        assert!(std::env::var_os("ACE_REQUIRE_STRACE").is_none(), "strace is missing");
        eprintln!("\n!!! STRACE IS MISSING: THIS TEST SHOWS NOTHING (apt-get install strace)\n");
        None
    }

    /// Runs a program and kills it by SIGKILL before one of its threads makes a call for the `nth` time. Where paths are
    /// named, calls on them alone count. Arguments of the program may follow.
    #[must_use]
    pub fn killing<P: AsRef<Path>>(self, program: &str, call: &str, nth: usize, on: &[P]) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]);
        for path in on {
            command.arg("-P").arg(path.as_ref());
        }
        command.arg("-e").arg(format!("trace={call}"));
        command.arg("-e").arg(format!("inject={call}:signal=SIGKILL:when={nth}"));
        command.arg(program);
        command
    }

    /// Runs a program and writes down these calls of it, a line each, with the paths of what they are made on.
    #[must_use]
    pub fn tracing(self, program: &str, calls: &str, to: &Path) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(to);
        command.arg(program);
        command
    }
}
