//! Reference tokens: the Authorization Server says what they mean (in the way of RFC 7662, with claims in CBOR).

use ace_backend_tokio::Services;
use ace_groupcomm::engine::{Answered, Question};
use ace_groupcomm::token::{TokenRefusal, ValidToken};
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::{Secret, Stop, UnixTime, View};
use ace_groupcomm_messages::Claims;
use async_trait::async_trait;
use std::time::Duration;

/// Takes the tokens that the Authorization Server vouches for.
pub struct Introspection;

impl TokenValidator for Introspection {
    fn validate(&self, view: &View<'_>, token: &[u8], now: UnixTime) -> Result<ValidToken, Stop> {
        let answer = view.asked(Question { service: "introspection", content: token.to_vec() })?;
        // What is not known there is answered with nothing.
        let claims = Claims::decode(answer.expose()).map_err(|_| TokenRefusal::Unverified)?;
        // A reference shows nothing of the claims to whoever sees it.
        Ok(ValidToken::of_claims("as", "kdc", token, claims, now, self.leeway())?.confidential())
    }
}

/// The Authorization Server, at a URL.
pub struct AuthServer {
    pub url: String,
    pub client: reqwest::Client,
}

#[async_trait]
impl Services for AuthServer {
    async fn ask(&self, question: &Question) -> Answered {
        let sent = self.client.post(&self.url).body(question.content.clone()).send().await;
        let Ok(response) = sent.and_then(reqwest::Response::error_for_status) else { return Answered::Failed };
        match response.bytes().await {
            Ok(claims) => Answered::Known { content: Secret::new(claims.to_vec()), good_for: Duration::from_secs(5) },
            Err(_) => Answered::Failed,
        }
    }
}
