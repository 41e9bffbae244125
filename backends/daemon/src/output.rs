//! What the programs say: to standard error what may be lost, to standard output what must not be.

use crate::ProgramError;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Log lines that could not be written since the last one that could.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Standard error as a log: a line that cannot be written is dropped and counted, and the next one says how many were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log;

/// Text without control characters, on one line: what a peer has sent must not reach a terminal as it is. They are written as
/// the strings of diagnostic notation have them (RFC 8949 section 8).
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char.is_control() || is_invisible(char) => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out
}

/// Whether it changes how the text around it is shown.
const fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Writes a line of a log to a place, after a word on those that were lost.
fn log(to: &mut impl Write, lost: &AtomicU64, line: &[u8]) {
    let before = lost.swap(0, Ordering::Relaxed);
    let told = if before == 0 { Ok(()) } else { writeln!(to, "{before} log lines could not be written") };
    if told.and_then(|()| to.write_all(line)).and_then(|()| to.flush()).is_err() {
        lost.fetch_add(before.saturating_add(1), Ordering::Relaxed);
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = escaped(String::from_utf8_lossy(line).trim_end_matches('\n'));
        log(&mut io::stderr().lock(), &LOST, format!("{text}\n").as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says something to whoever runs the program. Where it cannot be written it is dropped, as a line of the log.
pub fn say(words: impl std::fmt::Display) {
    log(&mut io::stderr().lock(), &LOST, format!("{words}\n").as_bytes());
}

/// Writes a result to standard output; where that is a file, it is on disk when this returns.
///
/// # Errors
/// [`ProgramError::Output`] where it was not written whole.
pub fn tell(words: &str) -> Result<(), ProgramError> {
    let mut written = 0;
    write_out(words.as_bytes(), &mut written).map_err(|source| ProgramError::Output { source, written })
}

/// Writes past the buffer of standard output, to know how much of it was written. Some file systems find out only at a
/// sync that there is no room.
#[cfg(unix)]
fn write_out(bytes: &[u8], written: &mut usize) -> io::Result<()> {
    use std::os::fd::AsFd;
    let mut out = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    write_counted(&mut out, bytes, written)?;
    if out.metadata()?.is_file() { out.sync_all() } else { Ok(()) }
}

#[cfg(not(unix))]
fn write_out(bytes: &[u8], written: &mut usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_counted(&mut out, bytes, written)?;
    out.flush()
}

fn write_counted(out: &mut impl Write, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *written = written.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place that takes so many lines and no more.
    struct Small(Vec<u8>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_written_of_a_result_is_known() {
        for (room, result) in [(0, false), (1, true)] {
            let (mut place, mut written) = (Small(Vec::new(), room), 0);
            assert_eq!(write_counted(&mut place, b"keys", &mut written).is_ok(), result);
            assert_eq!((place.0.len(), written), (room * 4, room * 4));
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(escaped("a\x1b[2J\nb\r\t\u{7f}\u{9b}\u{202e}é"), "a\\u001b[2J\\nb\\r\\t\\u007f\\u009b\\u202eé");
    }

    #[test]
    fn lines_that_are_lost_are_counted_and_told_when_there_is_room_again() {
        let (mut place, lost) = (Small(Vec::new(), 1), AtomicU64::new(0));
        for line in ["one\n", "two\n", "three\n"] {
            log(&mut place, &lost, line.as_bytes());
        }
        assert_eq!((place.0.as_slice(), lost.load(Ordering::Relaxed)), (&b"one\n"[..], 2));
        place.1 = usize::MAX;
        log(&mut place, &lost, b"four\n");
        assert_eq!(String::from_utf8(place.0).unwrap(), "one\n2 log lines could not be written\nfour\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }
}
