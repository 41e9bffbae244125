//! The suite that every token validator passes.
//!
//! ```
//! use ace_backend_aws_lc::AwsLc;
//! use ace_groupcomm::UnixTime;
//! use ace_groupcomm::engine::Answered;
//! use ace_groupcomm::testkit::build::{TestClient, token, validator};
//! use ace_groupcomm::testkit::token::{Tokens, suite};
//!
//! # fn main() -> Result<(), String> {
//! let client = TestClient::new(&AwsLc, 1).ok_or("no key")?;
//! suite(&AwsLc, &Tokens {
//!     validator: &|| Box::new(validator(&["g"])),
//!     good: token(1, &client.claims(&[("g", 1)], 2_000_000)),
//!     now: UnixTime::new(1_000_000),
//!     refused: vec![("of another issuer's key", token(3, &client.claims(&[("g", 1)], 2_000_000)))],
//!     answer: &|_| Answered::Failed, // it asks nobody
//! })
//! # }
//! ```

use super::{Desk, Failure, TestStore, require, toy};
use crate::engine::store::view::{Stop, View};
use crate::engine::{Answered, Question};
use crate::id::TokenHash;
use crate::kdc::KdcConfig;
use crate::request::{Caller, Response};
use crate::testkit::build;
use crate::time::{Now, UnixTime};
use crate::token::{Trust, ValidToken};
use crate::traits::crypto::CryptoProvider;
use crate::traits::storage::Sharing;
use crate::traits::token::TokenValidator;
use ace_groupcomm_messages::CreationHints;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So many places of a token are altered.
const ALTERED: usize = 400;

/// A longer token may be refused before it is validated.
const POSTED: usize = 1_000;

/// A validator, and what it is to say of which tokens.
pub struct Tokens<'a> {
    /// Makes the validator.
    pub validator: &'a dyn Fn() -> Box<dyn TokenValidator>,
    /// A token that is good at `now`, and ends at a time that it says (`exp`).
    pub good: Vec<u8>,
    /// When the tokens are posted.
    pub now: UnixTime,
    /// Tokens that are refused at `now`, each with what is wrong about it: expired, for another audience, of an unknown issuer …
    pub refused: Vec<(&'static str, Vec<u8>)>,
    /// What services say that the validator asks. A validator that asks nobody never calls it.
    pub answer: &'a dyn Fn(&Question) -> Answered,
}

/// What was found of a token: `None` where it was refused.
type Found = Option<ValidToken>;

/// Notes what a validator says.
struct Watched {
    inner: Box<dyn TokenValidator>,
    found: Arc<Mutex<Vec<(Found, bool)>>>,
}

impl TokenValidator for Watched {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let (first, second) = (self.inner.validate(view, token, now), self.inner.validate(view, token, now));
        if !matches!(first, Err(Stop::NotYet(_))) {
            let is_same = first.as_ref().ok() == second.as_ref().ok();
            let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            found.push((first.as_ref().ok().cloned(), is_same));
        }
        first
    }

    fn leeway(&self) -> Duration {
        self.inner.leeway()
    }

    fn trust(&self) -> Option<Trust> {
        self.inner.trust()
    }
}

/// A KDC without groups, at a time, whose validator is watched.
struct Bench<'a> {
    tokens: &'a Tokens<'a>,
    desk: Desk,
    found: Arc<Mutex<Vec<(Found, bool)>>>,
}

impl<'a> Bench<'a> {
    fn new(crypto: &'static dyn CryptoProvider, tokens: &'a Tokens<'a>, now: UnixTime) -> Result<Self, Failure> {
        let found = Arc::new(Mutex::default());
        let validator = Watched { inner: (tokens.validator)(), found: Arc::clone(&found) };
        let (store, now) = (TestStore::new(Sharing::Exclusive), Now::new(now.seconds(), Duration::from_secs(1)));
        let config = KdcConfig::new(CreationHints::default(), Vec::new());
        let desk = Desk::start(crypto, store, config, &toy::registry(), Box::new(validator), now);
        Ok(Self { tokens, desk: desk.map_err(|error| error.to_string())?, found })
    }

    /// Posts a token, answers what is asked, and says what was found; a failure where the answer blames the KDC.
    fn post(
        &mut self,
        token: &[u8],
        answer: &dyn Fn(&Question) -> Answered,
    ) -> Result<(Found, bool, Response), Failure> {
        // The posts of all who have proven nothing are bounded, to one a millisecond.
        self.desk.pass(Duration::from_millis(1));
        let ticket = self.desk.begin(&Caller::anonymous(), build::token_post(token));
        let response = loop {
            if let Some(response) = self.desk.answer_to(ticket) {
                break response;
            }
            let Some((op, question)) = self.desk.questions.pop() else {
                return Err("a post whose questions are answered is answered".into());
            };
            self.desk.answer(op, answer(&question));
        };
        let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        require(
            found.iter().all(|(_, is_same)| *is_same),
            "what is said of one token with one view is always the same",
        )?;
        let last = found.drain(..).next_back();
        Ok((last.as_ref().and_then(|(found, _)| found.clone()), last.is_some(), response))
    }

    /// Posts what must not be taken.
    fn refuses(&mut self, what: &str, token: &[u8]) -> Result<(), Failure> {
        let (found, was_asked, response) = self.post(token, self.tokens.answer)?;
        require(found.is_none(), &format!("a token is refused: {what}"))?;
        let is_posted = !token.is_empty() && token.len() <= POSTED;
        require(was_asked || !is_posted, &format!("a token that is posted is validated: {what}"))?;
        let is_clients = response.status.coap() >> 5 == 4;
        require(is_clients, &format!("who posts it is told that it is refused, not {:?}: {what}", response.status))
    }
}

/// Runs the whole suite.
///
/// # Errors
/// The first thing that the contract asks for and that did not hold.
pub fn suite(crypto: &'static dyn CryptoProvider, tokens: &Tokens<'_>) -> Result<(), Failure> {
    let mut bench = Bench::new(crypto, tokens, tokens.now)?;
    let (found, _, _) = bench.post(&tokens.good, tokens.answer)?;
    let good = found.ok_or("the good token is taken")?;
    require(good.hash == TokenHash::of(&tokens.good), "a token has the hash of what was posted")?;
    require(good.expires > tokens.now, "a token that is taken ends later")?;
    let trust = (tokens.validator)().trust();
    let is_trusted = trust.is_none_or(|trust| trust.issuer(&good.issuer).is_some());
    require(is_trusted, "the issuer of a token is one of those that are trusted")?;
    for (what, token) in &tokens.refused {
        bench.refuses(what, token)?;
    }
    altered(&mut bench, &good)?;
    garbage(&mut bench)?;
    too_late(crypto, tokens, &good)?;
    silent_services(crypto, tokens)
}

/// A token that was altered gives nothing that the token does not give.
fn altered(bench: &mut Bench<'_>, good: &ValidToken) -> Result<(), Failure> {
    let token = bench.tokens.good.clone();
    let step = token.len().div_ceil(ALTERED).max(1);
    for at in (0..token.len()).step_by(step) {
        for bit in [0x01, 0x80] {
            let mut altered = token.clone();
            altered.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
            let (found, _, _) = bench.post(&altered, bench.tokens.answer)?;
            let says_the_same = found.is_none_or(|found| ValidToken { hash: good.hash.clone(), ..found } == *good);
            require(says_the_same, &format!("a token whose byte {at} was altered says nothing else"))?;
        }
        bench.refuses("its end is missing", token.get(..at).unwrap_or_default())?;
    }
    bench.refuses("something follows it", &[token.as_slice(), &[0]].concat())
}

fn garbage(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for length in (0..300_usize).chain([1_000, 10_000]) {
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        bench.refuses("it is random bytes", &bytes)?;
    }
    Ok(())
}

fn too_late(crypto: &'static dyn CryptoProvider, tokens: &Tokens<'_>, good: &ValidToken) -> Result<(), Failure> {
    let later = good.expires.plus((tokens.validator)().leeway()).plus(Duration::from_secs(1));
    Bench::new(crypto, tokens, later)?.refuses("it has expired", &tokens.good)
}

/// Where nobody answers nothing is taken.
fn silent_services(crypto: &'static dyn CryptoProvider, tokens: &Tokens<'_>) -> Result<(), Failure> {
    let asked = std::cell::Cell::new(false);
    let failing = |_: &Question| {
        asked.set(true);
        Answered::Failed
    };
    let (found, _, _) = Bench::new(crypto, tokens, tokens.now)?.post(&tokens.good, &failing)?;
    require(!asked.get() || found.is_none(), "a token of which a service says nothing is not taken")
}
