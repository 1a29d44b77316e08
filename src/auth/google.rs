//! Google's service identity token, which Dialogflow sends when nothing else is set in the agent.

use std::sync::atomic::{AtomicBool, Ordering};

use jsonwebtoken::Algorithm;

use super::jwks::Jwks;
use super::token::{Token, short};
use super::{Caller, Why};
use crate::clock::Clock;

const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Google's services that call webhooks of agents: Dialogflow, and its successor for customer engagement.
const SERVICES: [&str; 2] = ["gcp-sa-dialogflow", "gcp-sa-ces"];

/// How far Google's clock may differ from ours, in seconds; Google's own libraries allow as much.
const SKEW_SECONDS: i64 = 300;
/// A token that is valid for longer than this is none of Google's, whose tokens last an hour.
const MAX_LIFETIME_DAYS: i64 = 1;

/// Which Dialogflow agents may call.
#[derive(Debug)]
pub(super) struct GoogleCheck {
    clock: Clock,
    emails: Vec<String>,
    audiences: Vec<String>,
    published: Jwks,
    audience_logged: AtomicBool,
}

impl GoogleCheck {
    /// Admits the service agents of [`SERVICES`] in the projects with these numbers.
    pub(super) fn new(clock: Clock, project_numbers: &[String], audiences: Vec<String>, published: Jwks) -> Self {
        let of_project = |number: &String| {
            let number = number.clone();
            SERVICES.map(move |service| format!("service-{number}@{service}.iam.gserviceaccount.com"))
        };
        let emails = project_numbers.iter().flat_map(of_project).collect();
        Self {
            clock,
            emails,
            audiences,
            published,
            audience_logged: AtomicBool::new(false),
        }
    }

    pub(super) fn keys(&self) -> &Jwks {
        &self.published
    }

    pub(super) async fn check(&self, token: &Token<'_>) -> Result<Caller, Why> {
        if token.algorithm != Algorithm::RS256 {
            return Err(Why::Algorithm(token.algorithm));
        }
        let claims = &token.claims;
        if !claims.iss.as_deref().is_some_and(|issuer| ISSUERS.contains(&issuer)) {
            return Err(Why::Issuer(claims.iss.as_deref().map(short)));
        }
        let now = self.clock.now().timestamp();
        claims.check_times(now, SKEW_SECONDS)?;
        claims.check_lifetime(now, MAX_LIFETIME_DAYS)?;
        if claims.iat.is_none() {
            return Err(Why::NotAToken("no `iat`".to_owned()));
        }
        let email = match &claims.email {
            Some(email) if self.emails.contains(email) => email.clone(),
            other => return Err(Why::Email(other.as_deref().map(short))),
        };
        if claims.email_verified != serde_json::Value::Bool(true) {
            return Err(Why::EmailNotVerified);
        }
        claims.check_audience(&self.audiences)?;
        self.published.verify(token).await?;
        if self.audiences.is_empty() && !self.audience_logged.swap(true, Ordering::Relaxed) {
            let audience = short(&format!("{:?}", claims.aud.as_slice()));
            tracing::info!(
                audience,
                "first audience of a Google ID token; AUTH_GOOGLE_AUDIENCE can hold callers to it"
            );
        }
        Ok(Caller::Google { email })
    }
}
