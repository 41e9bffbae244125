//! The course of a run: steps in which anything may happen, and then the end, in which nothing is lost any more.

use super::{GROUP, Kind, Options, Simulation, Summary};
use crate::keys;
use crate::record::RecordType;
use crate::records::Head;
use crate::request::{Caller, Method};
use crate::testkit::build;
use crate::testkit::ledger::Violation;
use crate::time::Now;
use crate::traits::storage::Key;
use sha2::Digest;
use std::time::Duration;

/// The longest time until what is due is done, when nothing is lost: half an hour.
const BOUND: Duration = Duration::from_secs(1_800);
/// In so many rounds all members have what they miss: some tokens come to their end meanwhile.
const ROUNDS: usize = 40;

impl Simulation {
    /// Runs it.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn run(mut self) -> Result<Summary, Violation> {
        let began = self.now.unix;
        let until = self.now.mono.saturating_add(self.options.duration);
        for _ in 0..self.options.steps {
            self.step()?;
            if self.now.mono > until {
                break;
            }
        }
        // Then nothing is lost any more, and all that is under way comes to an end.
        self.options = Options { loss: 0, faults: 0, slowness: 1, short: 0, ..self.options };
        self.settle()?;
        let all = self.store.scan(&Key::new(""), None, usize::MAX).map_err(|_| Violation::Setup)?;
        self.ledger.check_store(&all.records)?;
        self.summary.conflicts =
            self.summary.conflicts.saturating_add(self.hosts.iter().map(|host| host.kdc.stats().conflicts).sum());
        self.summary.versions = self.ledger.versions();
        self.summary.seconds = began.until(self.now.unix).as_secs();
        self.summary.trace = self.trace.finalize().into();
        Ok(self.summary)
    }

    fn step(&mut self) -> Result<(), Violation> {
        let host = self.index(self.hosts.len());
        if self.options.quiet > 0 {
            self.pass_up_to(self.options.pace);
            if self.waiting() > 0 || self.hosts.iter().any(|host| !host.work.is_empty()) {
                return match self.draw(300) {
                    0 => self.ask(),
                    1 => self.wake(host),
                    n if n < 100 => self.flush(host),
                    _ => self.progress(host),
                };
            }
            self.pass_up_to(self.options.quiet);
            for host in 0..self.hosts.len() {
                self.wake(host)?;
            }
        }
        self.pass_up_to(self.options.pace);
        let commanded = self.options.crashes.saturating_add(90);
        match self.draw(10_000) {
            n if n < self.options.crashes => self.crash(host),
            n if n < commanded => self.operate(host),
            n if n < commanded.saturating_add(self.options.restores) => self.restore(),
            n if n < 2_500 || self.options.quiet > 0 => self.ask(),
            n if n < 3_500 => self.wake(host),
            n if n < 5_500 => self.flush(host),
            _ => self.progress(host),
        }
    }

    fn waiting(&self) -> usize {
        self.hosts.iter().map(|host| host.kdc.waiting()).sum()
    }

    /// Time goes by: that of the day too, which has whole seconds alone.
    fn pass(&mut self, milliseconds: u64) {
        let mono = self.now.mono.saturating_add(Duration::from_millis(milliseconds));
        let seconds = mono.as_secs().saturating_sub(self.now.mono.as_secs());
        let unix = self.now.unix.plus(Duration::from_secs(seconds));
        self.now = Now::new(unix.seconds(), mono);
    }

    fn pass_up_to(&mut self, milliseconds: u64) {
        let time = self.draw(milliseconds);
        self.pass(time);
    }

    fn is_busy(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|host| !host.work.is_empty())
    }

    /// All comes to its end: in the end all members hold the newest version, and nobody else does.
    fn settle(&mut self) -> Result<(), Violation> {
        for _ in 0..ROUNDS {
            self.rest()?;
            if self.catch_up()? == 0 {
                return self.newest();
            }
            // Who is refused for now asks again later.
            self.pass(5_000);
        }
        Err(Violation::Behind)
    }

    /// Goes on until no request waits and no rekeying is due.
    fn rest(&mut self) -> Result<(), Violation> {
        let until = self.now.mono.saturating_add(BOUND);
        while self.now.mono < until {
            for host in 0..self.hosts.len() {
                self.wake(host)?;
                self.flush(host)?;
            }
            match (0..self.hosts.len()).find(|&host| self.is_busy(host)) {
                Some(host) => self.progress(host)?,
                None if self.waiting() == 0 && !self.is_due() => return Ok(()),
                None => self.pass(50),
            }
        }
        if self.waiting() > 0 { Err(Violation::Stuck(self.waiting())) } else { Err(Violation::Undone) }
    }

    /// The group's head, as it is stored.
    pub(super) fn head(&mut self) -> Option<Head> {
        let key = keys::head(self.group()?);
        let record = self.store.read(&[key]).ok()?.pop()??;
        Head::decode(&record.value).ok()
    }

    fn is_due(&mut self) -> bool {
        self.head().is_some_and(|head| head.members > 0 && head.rekey_due.is_some())
    }

    /// Has clients ask for what they miss. Returns how many have.
    fn catch_up(&mut self) -> Result<usize, Violation> {
        let Some(num) = self.head().and_then(|head| i64::try_from(head.num).ok()) else { return Ok(0) };
        let mut asking = 0_usize;
        for number in 0..self.clients.len() {
            let Some(client) = self.clients.get(number) else { continue };
            if !self.ledger.is_member(client.principal()) || client.held() == Some(num) {
                continue;
            }
            asking = asking.saturating_add(1);
            match client.at() {
                Some((id, host)) if client.is_member() => {
                    let request = build::group_request(Method::Get, GROUP, &[]);
                    self.send(number, host, Caller::peer(id), Kind::Retrieve, request)?;
                }
                Some(_) => self.join(number, false)?,
                None => self.post(number, 0)?,
            }
        }
        Ok(asking)
    }

    /// Errors if somebody who is no member holds the newest version.
    fn newest(&mut self) -> Result<(), Violation> {
        let Some(head) = self.head().filter(|head| head.members > 0) else { return Ok(()) };
        let num = i64::try_from(head.num).map_err(|_| Violation::Setup)?;
        let is_out = |number: &usize| {
            let client = self.clients.get(*number);
            client.is_some_and(|client| client.held() == Some(num) && !self.ledger.is_member(client.principal()))
        };
        match (0..self.clients.len()).find(is_out) {
            Some(_) => Err(Violation::KeyForOutsider(num)),
            None => Ok(()),
        }
    }
}
