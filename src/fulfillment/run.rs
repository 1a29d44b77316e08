//! Runs a handler to its end, within its own limit, and makes a reply of whatever comes out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::asked::Asked;
use super::flights::Answered;
use crate::clock::before;
use crate::conversation::Taken;
use crate::fail::Fail;
use crate::handler::{Awaited, Deadline, Identity, Scope, Services};
use crate::idempotency::record;
use crate::platform;
use crate::reply::{Answer, FormReply, FormState, Reply};

/// One run of one handler.
pub(super) struct Run {
    pub(super) services: Arc<Services>,
    /// How long the handler may run.
    pub(super) limit: Duration,
    pub(super) asked: Asked,
    pub(super) awaited: Awaited,
    pub(super) identity: Identity,
}

impl Run {
    /// What the user hears, and what to count it as.
    pub(super) async fn answer(self) -> (Answered, &'static str) {
        let gotos = self
            .services
            .conversation
            .take_gotos(&self.asked.turn.session, &self.asked.key, self.asked.answer_by)
            .await;
        match self.reply(&gotos).await {
            Ok(body) => (Answered::Reply(body), "reply"),
            Err(fail) => {
                fail.log();
                (self.failed(&fail, &gotos), fail.kind())
            }
        }
    }

    /// The handler's reply, encoded; committed, if it took a transaction.
    async fn reply(&self, gotos: &Taken) -> Result<Bytes, Fail> {
        if let Some(answer) = gotos.follow_up(self.asked.turn.api) {
            return Ok(platform::encode(&self.asked.turn, &gotos.kept_in(answer)));
        }
        let handler_ends = Instant::now() + self.limit;
        let scope = Scope {
            turn: gotos.turn(&self.asked.turn),
            body: self.asked.body.clone(),
            services: Arc::clone(&self.services),
            handler: self.asked.intent.handler,
            deadline: Deadline::new(self.awaited.clone(), handler_ends),
            key: self.asked.key.clone(),
            transaction: Default::default(),
            identity: Identity::clone(&self.identity),
        };
        let transaction = scope.transaction.clone();
        let handler = AssertUnwindSafe(async { self.asked.intent.run(scope).await }).catch_unwind();
        let answer = match before(handler_ends, handler).await {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(Fail::Answered(body)))) => return Ok(body),
            Ok(Ok(Err(fail))) => return Err(fail),
            Ok(Err(_)) => return Err(Fail::bug(format_args!("{} panicked", self.asked.intent.handler))),
            Err(_) => return Err(Fail::TooSlow),
        };
        if let Some(reason) = answer.broken() {
            return Err(Fail::bug(reason));
        }
        let body = platform::encode(&self.asked.turn, &gotos.kept_in(answer));
        if let Some(mut transaction) = transaction.take() {
            record::save(&mut transaction, &self.asked.key, &body).await?;
            transaction.commit().await?;
        }
        Ok(body)
    }

    /// What the user hears of a failure, or nothing where the intent leaves that to the platform.
    fn failed(&self, fail: &Fail, gotos: &Taken) -> Answered {
        if self.asked.intent.fails_with_status && fail.is_ours() {
            return Answered::Failed;
        }
        let lang = self.asked.lang();
        let mut reply = match fail {
            Fail::TooSlow => Reply::text(self.asked.intent.slow_text(&lang)),
            Fail::Ask {
                parameter,
                prompt: None,
                ..
            } => match self.asked.intent.prompt(parameter, &lang) {
                Some(prompt) => Reply::text(prompt),
                None => Reply::text(fail.spoken(&lang)),
            },
            Fail::Ask { prompt: Some(_), .. } | Fail::Say(_) | Fail::Upstream(_) | Fail::Bug(_) | Fail::Answered(_) => {
                Reply::text(fail.spoken(&lang))
            }
        };
        if let Fail::Ask { parameter, .. } = fail
            && self.in_form(parameter)
        {
            // A CX form asks again for a parameter that is invalid.
            reply = reply.form(FormReply {
                name: parameter.clone(),
                state: FormState::Invalid,
                required: None,
                value: None,
            });
        }
        Answered::Instead(platform::encode(&self.asked.turn, &gotos.kept_in(Answer::from(reply))))
    }

    fn in_form(&self, parameter: &str) -> bool {
        self.asked
            .turn
            .page
            .as_ref()
            .is_some_and(|page| page.form.iter().any(|field| field.name == parameter))
    }
}
