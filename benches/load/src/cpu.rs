//! CPU time that was used, in seconds, as Linux counts it: in hundredths.

use std::path::Path;

/// User and system time in a `stat` file; `None` where there is none.
fn used(stat: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(stat).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<f64>() / 100.0)
}

/// By all threads of this process.
#[must_use]
pub fn process() -> f64 {
    used(Path::new("/proc/self/stat")).unwrap_or(0.0)
}

/// By this thread.
#[must_use]
pub fn thread() -> f64 {
    used(Path::new("/proc/thread-self/stat")).unwrap_or(0.0)
}

/// By all processes of this machine that have this name now.
#[must_use]
pub fn named(name: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_named = |path: &Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    processes.filter(|path| is_named(path)).filter_map(|path| used(&path.join("stat"))).sum()
}
