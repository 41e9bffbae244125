//! The suites for transport profiles and token validators catch those that are wrong in one place.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::engine::{Answered, Question};
use ace_groupcomm::registry::TransportProfileDescriptor;
use ace_groupcomm::testkit::build::{self, TestClient};
use ace_groupcomm::testkit::token::{self, Tokens};
use ace_groupcomm::testkit::{toy, transport};
use ace_groupcomm::token::{CwtValidator, TokenRefusal, Trust, ValidToken};
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::traits::transport::{NewAssociation, Offer, TransportProfile, TransportRefusal};
use ace_groupcomm::{AssociationId, Secret, Stop, UnixTime, View};
use ace_groupcomm_messages::labels::oauth;
use ace_groupcomm_messages::{Claims, Confirmation, Label, OscoreInputMaterial, RawCbor, Scope, TokenTransferRequest};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

type Alter = fn(NewAssociation, &TokenTransferRequest) -> NewAssociation;

/// The toy transport with something done to what it makes.
struct Wrong {
    alter: Alter,
    public: bool,
    names: bool,
}

impl TransportProfile for Wrong {
    fn number(&self) -> i64 {
        toy::TRANSPORT.number
    }

    fn key_is_public(&self, _: &Confirmation) -> bool {
        self.public
    }

    fn associate(
        &self,
        post: &TokenTransferRequest,
        cnf: &Confirmation,
        offer: Offer<'_>,
    ) -> Result<NewAssociation, TransportRefusal> {
        let Offer { random, secret, names } = offer;
        let mut own = [vec![1], vec![2]].into_iter().map(AssociationId::from);
        let names = if self.names { names } else { &mut own };
        let made = toy::TRANSPORT.profile.associate(post, cnf, Offer { random, secret, names })?;
        Ok((self.alter)(made, post))
    }
}

fn transport_suite(wrong: Wrong) -> Result<(), String> {
    let profile: &'static Wrong = Box::leak(Box::new(wrong));
    let post = build::transfer(b"token", &[1; 8]);
    let material = OscoreInputMaterial::new(vec![1], vec![2; 16]);
    transport::suite(&TransportProfileDescriptor { profile, ..toy::TRANSPORT }, &post, &Confirmation::Osc(material))
}

fn wrong(alter: Alter) -> Wrong {
    Wrong { alter, public: false, names: true }
}

static CALLS: AtomicU8 = AtomicU8::new(0);

fn with_parameter(mut made: NewAssociation, number: i64) -> NewAssociation {
    made.answer.push((Label::Int(number), RawCbor::uint(1)));
    made
}

#[test]
fn a_transport_that_is_wrong_in_one_place_does_not_pass_the_suite() {
    assert_eq!(transport_suite(wrong(|made, _| made)), Ok(()));
    let told = |wrong, expected: &str| match transport_suite(wrong) {
        Err(told) => assert!(told.contains(expected), "{expected}: {told}"),
        Ok(()) => panic!("{expected}: nothing was said"),
    };
    told(Wrong { public: true, ..wrong(|made, _| made) }, "for nobody else to read");
    told(Wrong { names: false, ..wrong(|made, _| made) }, "one of those that are offered");
    told(wrong(|made, _| NewAssociation { material: Secret::new(vec![]), ..made }), "there is material");
    told(wrong(|made, _| NewAssociation { material: made.id.as_bytes().into(), ..made }), "the name is no secret");
    told(wrong(|made, _| NewAssociation { material: Secret::new(vec![1; 16]), ..made }), "two materials");
    told(wrong(|made, _| NewAssociation { input_id: made.id.as_bytes().to_vec(), ..made }), "has the same name");
    told(wrong(|made, _| with_parameter(made, oauth::NONCE2)), "twice");
    told(wrong(|made, _| with_parameter(made, oauth::KDCCHALLENGE)), "the KDC itself");
    let counted: Alter = |made, _| {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        NewAssociation { material: Secret::new(vec![call; 16]), ..made }
    };
    told(wrong(counted), "always the same");
    let clients: Alter = |made, post| match post.client_recipient_id.as_deref() {
        Some([0x40]) => NewAssociation { id: AssociationId::from(vec![0x40]), ..made },
        _ => made,
    };
    told(wrong(clients), "the client's own name");
}

/// A validator of CWTs with a flaw.
struct Careless(CwtValidator, Flaw);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    LooksAtNoTime,
    TakesTheBeginning,
    TakesWhatFollows,
    TakesAll,
    HashesTheClaims,
    NamesAnotherIssuer,
    BlamesItself,
    GoesByTheLastByte,
}

fn taken(token: &[u8], subject: &str) -> ValidToken {
    let cnf = Confirmation::Kid(b"k".to_vec());
    ValidToken::new("as1", subject, token, UnixTime::new(2_000_000), Scope::default(), cnf)
}

impl TokenValidator for Careless {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let by = |token: &[u8], now| self.0.validate(view, token, now);
        match self.1 {
            Flaw::None => by(token, now),
            Flaw::LooksAtNoTime => by(token, UnixTime::new(1_000_000)),
            Flaw::TakesTheBeginning if token.len() == 7 => Ok(taken(token, "a")),
            Flaw::TakesWhatFollows => {
                by(token, now).or_else(|_| by(token.split_last().map_or(token, |(_, rest)| rest), now))
            }
            Flaw::TakesAll => Ok(taken(token, "a")),
            Flaw::HashesTheClaims => by(token, now).map(|_| taken(b"claims", "a")),
            Flaw::NamesAnotherIssuer => {
                let cnf = Confirmation::Kid(b"k".to_vec());
                let ends = UnixTime::new(2_000_000);
                by(token, now).map(|_| ValidToken::new("as9", "a", token, ends, Scope::default(), cnf))
            }
            Flaw::BlamesItself => by(token, now).map_err(|stop| match stop {
                Stop::Refuse(_) => ace_groupcomm::refusal::Refusal::Internal("a bug").into(),
                other => other,
            }),
            Flaw::GoesByTheLastByte if token.len() > 100 => Ok(taken(token, &format!("{:?}", token.last()))),
            _ => by(token, now),
        }
    }

    fn trust(&self) -> Option<Trust> {
        self.0.trust()
    }
}

fn token_suite(flaw: Flaw) -> Result<(), String> {
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let claims = |expires| client.claims(&[("g", 1)], expires);
    let of_nobody = Claims { aud: vec!["somebody".into()], ..claims(2_000_000) };
    let tokens = Tokens {
        validator: &|| Box::new(Careless(build::validator(&["g"]), flaw)),
        good: build::token(1, &claims(2_000_000)),
        now: UnixTime::new(1_000_000),
        refused: vec![
            ("it has expired", build::token(1, &claims(900_000))),
            ("it is for another audience", build::token(1, &of_nobody)),
            ("nobody knows its issuer", build::token(3, &claims(2_000_000))),
        ],
        answer: &|_| Answered::Failed,
    };
    token::suite(&AwsLc, &tokens)
}

#[test]
fn a_validator_that_is_wrong_in_one_place_does_not_pass_the_suite() {
    assert_eq!(token_suite(Flaw::None), Ok(()));
    for (flaw, expected) in [
        (Flaw::LooksAtNoTime, "it has expired"),
        (Flaw::TakesTheBeginning, "its end is missing"),
        (Flaw::TakesWhatFollows, "something follows it"),
        (Flaw::TakesAll, "it has expired"),
        (Flaw::HashesTheClaims, "the hash of what was posted"),
        (Flaw::NamesAnotherIssuer, "one of those that are trusted"),
        (Flaw::BlamesItself, "who posts it is told"),
        (Flaw::GoesByTheLastByte, "it has expired"),
    ] {
        match token_suite(flaw) {
            Err(told) => assert!(told.contains(expected), "{flaw:?}: {told}"),
            Ok(()) => panic!("{flaw:?}: nothing was said"),
        }
    }
}

/// Asks what a token means.
struct Asking {
    takes_silence: bool,
}

impl TokenValidator for Asking {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let answer = match view.asked(Question { service: "introspection", content: token.to_vec() }) {
            Err(Stop::Refuse(_)) if self.takes_silence => return Ok(taken(token, "a")),
            other => other?,
        };
        let claims = Claims::decode(answer.expose()).map_err(|_| TokenRefusal::Unverified)?;
        Ok(ValidToken::of_claims("as", build::AUDIENCE, token, claims, now, self.leeway())?)
    }
}

#[test]
fn a_validator_that_asks_passes_unless_it_takes_what_nobody_has_answered() {
    let client = TestClient::new(&AwsLc, 1).unwrap();
    let claims = client.claims(&[("g", 1)], 2_000_000).encode();
    let answer = |question: &Question| Answered::Known {
        content: Secret::new(if question.content == b"reference" { claims.clone() } else { vec![] }),
        good_for: Duration::from_secs(5),
    };
    for (takes_silence, expected) in [(false, Ok(())), (true, Err("of which a service says nothing"))] {
        let tokens = Tokens {
            validator: &|| Box::new(Asking { takes_silence }),
            good: b"reference".to_vec(),
            now: UnixTime::new(1_000_000),
            refused: vec![("nobody knows it", b"another".to_vec())],
            answer: &answer,
        };
        match (token::suite(&AwsLc, &tokens), expected) {
            (Ok(()), Ok(())) => (),
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, _) => panic!("{takes_silence}: {told:?}"),
        }
    }
}
