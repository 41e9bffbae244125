//! The audit log: a file to which lines are added and nothing else. Each line holds the hash of the one before it, so that
//! whoever looks later sees whether one is missing or another than it was.
//!
//! A line is a JSON object. What is refused again and again, to the same caller for the same reason, stands there once a
//! minute, with how often it was.

use crate::{ProgramError, StorageConfig};
use ace_groupcomm::audit::TARGET;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// For how long the same refusal to the same caller is counted instead of written.
const WINDOW: Duration = Duration::from_secs(60);
/// How many refusals are told apart within it. Beyond that all others count as one.
const TOLD_APART: usize = 4_096;
/// The longest line that is looked for at the end of a file.
const LONGEST: u64 = 1 << 20;
/// What stands for a caller when too many are told apart.
const OTHERS: &str = "others";

/// The file of this process, once one is named.
static LOG: Mutex<Option<Log>> = Mutex::new(None);

fn log() -> MutexGuard<'static, Option<Log>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the entries of this process to a file from now on. A relative path begins where the configuration is.
///
/// # Errors
/// [`ProgramError::File`] where it cannot be written, or another process writes it.
pub fn open_audit(path: &Path, config: &Path) -> Result<(), ProgramError> {
    let path = StorageConfig::beside(config, path);
    let opened = Log::open(&path).map_err(|source| ProgramError::File { path, source })?;
    *log() = Some(opened);
    Ok(())
}

/// Writes what was counted for its time, and has the disk keep what was written.
pub(crate) fn flush(all: bool) {
    let file = log().as_mut().map(|log| {
        log.fold(if all { None } else { Some(Instant::now()) });
        Arc::clone(&log.file)
    });
    // Not while entries wait: a disk takes its time.
    if let Some(Err(error)) = file.map(|file| file.sync_data()) {
        tracing::error!(%error, "the audit log cannot be kept");
    }
}

/// Refusals of one kind that were counted.
struct Counted {
    until: Instant,
    entry: Map<String, Value>,
    more: u64,
}

struct Log {
    file: Arc<File>,
    /// The hash of the last line.
    last: String,
    counted: HashMap<(String, String), Counted>,
    /// Lines that could not be written.
    lost: u64,
}

fn hash(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands before the first line.
fn nothing() -> String {
    "0".repeat(64)
}

impl Log {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.try_lock()
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::ResourceBusy, "another process writes it"))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        // A process that was killed may have left a part of a line: it stays, and the next one says so.
        let torn = end.last().is_some_and(|byte| *byte != b'\n');
        if torn {
            file.write_all(b"\n")?;
        }
        let last = end.strip_suffix(b"\n").unwrap_or(&end).rsplit(|byte| *byte == b'\n').next();
        let last = last.filter(|line| !line.is_empty()).map_or_else(nothing, hash);
        let mut log = Self { file: Arc::new(file), last, counted: HashMap::new(), lost: 0 };
        let mut entry = Map::from_iter([("event".into(), Value::from("audit log opened"))]);
        if torn {
            entry.insert("torn".into(), true.into());
        }
        log.write(entry);
        Ok(log)
    }

    fn take(&mut self, mut entry: Map<String, Value>) {
        let now = Instant::now();
        self.fold(Some(now));
        if entry.get("event").and_then(Value::as_str) != Some("refused") {
            return self.write(entry);
        }
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut key = (text("caller"), text("reason"));
        if self.counted.len() >= TOLD_APART && !self.counted.contains_key(&key) {
            key.0 = OTHERS.into();
            entry.insert("caller".into(), OTHERS.into());
            entry.remove("path");
        }
        if let Some(counted) = self.counted.get_mut(&key) {
            counted.more = counted.more.saturating_add(1);
            return;
        }
        let until = now.checked_add(WINDOW).unwrap_or(now);
        self.counted.insert(key, Counted { until, entry: entry.clone(), more: 0 });
        self.write(entry);
    }

    /// Writes what was counted up to now; all of it where there is no time given.
    fn fold(&mut self, now: Option<Instant>) {
        let is_over = |counted: &Counted| now.is_none_or(|now| counted.until <= now);
        if !self.counted.values().any(is_over) {
            return;
        }
        let (over, left) = std::mem::take(&mut self.counted).into_iter().partition(|(_, counted)| is_over(counted));
        self.counted = left;
        let over: HashMap<_, _> = over;
        for counted in over.into_values().filter(|counted| counted.more > 0) {
            let mut entry = counted.entry;
            entry.insert("again".into(), counted.more.into());
            entry.remove("path");
            self.write(entry);
        }
    }

    fn write(&mut self, mut entry: Map<String, Value>) {
        entry.insert("time".into(), humantime::format_rfc3339_millis(SystemTime::now()).to_string().into());
        entry.insert("before".into(), self.last.clone().into());
        if self.lost > 0 {
            entry.insert("lost".into(), self.lost.into());
        }
        let line = Value::Object(entry).to_string();
        match (&*self.file).write_all(format!("{line}\n").as_bytes()) {
            Ok(()) => {
                self.last = hash(line.as_bytes());
                self.lost = 0;
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::error!(%error, "the audit log cannot be written");
                }
                self.lost = self.lost.saturating_add(1);
            }
        }
    }
}

/// Where entries go.
pub(crate) struct AuditLayer;

/// The fields of an entry.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }
}

impl<S: Subscriber> Layer<S> for AuditLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = &mut *log() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        log.take(fields.0);
    }
}

/// Whether an event is an entry.
pub(crate) fn is_entry(event: &tracing::Metadata<'_>) -> bool {
    event.target() == TARGET
}

/// Looks whether an audit log is whole. Returns how many lines it has.
///
/// # Errors
/// [`ProgramError`] with the first line that does not follow the one before it.
pub(crate) fn check(path: &Path) -> Result<u64, ProgramError> {
    let failed = |source| ProgramError::File { path: path.to_path_buf(), source };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?).split(b'\n');
    let (mut count, mut before, mut unread) = (0_u64, nothing(), None::<u64>);
    while let Some(line) = lines.next().transpose().map_err(failed)? {
        count = count.saturating_add(1);
        let entry: Option<Map<String, Value>> = serde_json::from_slice(&line).ok();
        let says = |name: &str| entry.as_ref().and_then(|entry| entry.get(name)).cloned();
        let follows = says("before") == Some(before.into());
        let is_torn = says("torn") == Some(true.into());
        // A part of a line is known as one by the line behind it alone.
        if unread.take().is_some_and(|_| !is_torn) || !follows && entry.is_some() {
            return Err(broken(path, count));
        }
        if entry.is_none() {
            unread = Some(count);
        }
        before = hash(&line);
    }
    match unread {
        Some(line) => Err(broken(path, line)),
        None => Ok(count),
    }
}

fn broken(path: &Path, line: u64) -> ProgramError {
    let reason = format!("line {line}: does not follow the line before it");
    ProgramError::Config { path: PathBuf::from(path), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: &str, caller: &str, reason: &str) -> Map<String, Value> {
        let fields = [("event", event), ("caller", caller), ("reason", reason), ("path", "ace-group/x")];
        fields.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
    }

    // Covers: TH-9-01/audit-chain
    #[test]
    fn a_line_that_is_changed_or_taken_out_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let mut log = Log::open(&path).unwrap();
        (0..5).for_each(|number| log.take(entry("joined", &number.to_string(), "")));
        assert_eq!(Log::open(&path).err().unwrap().kind(), std::io::ErrorKind::ResourceBusy);
        drop(log);
        Log::open(&path).unwrap().take(entry("joined", "6", ""));
        assert_eq!(check(&path).unwrap(), 8);
        let whole = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("\"caller\":\"3\"", "\"caller\":\"4\""), ("\"event\":\"joined\"", "\"event\":\"jumped\"")] {
            std::fs::write(&path, whole.replacen(from, to, 1)).unwrap();
            assert!(check(&path).unwrap_err().to_string().contains("does not follow"));
        }
        for gone in 0..7 {
            let rest: Vec<&str> =
                whole.lines().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| line).collect();
            std::fs::write(&path, rest.join("\n") + "\n").unwrap();
            assert!(check(&path).unwrap_err().to_string().contains(&format!("line {}:", gone + 1)));
        }
    }

    #[test]
    fn a_line_that_a_kill_has_torn_is_told_of_and_one_that_is_torn_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        Log::open(&path).unwrap().take(entry("joined", "1", ""));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(check(&path).is_err(), "nobody has told of it yet");
        Log::open(&path).unwrap().take(entry("joined", "2", ""));
        assert_eq!((check(&path).unwrap(), lines(&path)[2]["torn"].as_bool()), (4, Some(true)));
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace("\"torn\":true", "\"torn\":false"))
            .unwrap();
        assert!(check(&path).is_err());
    }

    // Covers: TH-9-01/audit-flood
    #[test]
    fn the_same_refusal_to_the_same_caller_stands_there_once_with_how_often_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let mut log = Log::open(&path).unwrap();
        for _ in 0..1_000 {
            for (caller, reason) in [("peer 1", "no member"), ("peer 1", "not found"), ("peer 2", "not found")] {
                log.take(entry("refused", caller, reason));
            }
        }
        assert_eq!(lines(&path).len(), 4, "one that the log was opened, and one of each");
        log.fold(None);
        let all = lines(&path);
        assert_eq!(all.len(), 7);
        assert!(all[4..].iter().all(|line| line["again"] == 999 && line["path"].is_null()));
        // Nobody can have the log remember callers without end.
        (0..10_000).for_each(|number| log.take(entry("refused", &number.to_string(), "not found")));
        assert!(lines(&path).len() <= 7 + TOLD_APART + 1);
        assert_eq!(lines(&path).last().unwrap()["caller"], OTHERS);
        log.fold(None);
        assert_eq!(lines(&path).last().unwrap()["again"], 10_000 - TOLD_APART - 1);
        assert!(check(&path).is_ok());
    }
}
