//! `call`: a request to another service.

use std::collections::BTreeMap;

use minijinja::Value as Names;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use toml::Spanned;
use uuid::Uuid;

use super::kind::{Batch, Compiled, Kind, Made};
use super::text::text;
use crate::address::problem as address_problem;
use crate::auth::secrets::is_variable;
use crate::client_credentials::ClientCredentials;
use crate::conversation::AfterCommit;
use crate::conversation::decision::Decision;
use crate::conversation::outbox::{self, CALL, CallBody, HttpCall, NewRow};
use crate::expression::EvalError;
use crate::reactions::checker::Checker;
use crate::reactions::content::{Content, ContentFile, object, paths_of};
use crate::reactions::sees::Sees;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallFile {
    url: Spanned<String>,
    method: Option<Spanned<String>>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    body: BTreeMap<String, Spanned<ContentFile>>,
    secret_env: Option<Spanned<String>>,
    oauth: Option<Spanned<ClientCredentials>>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Debug)]
pub(crate) struct CallAction {
    method: String,
    url: Content,
    headers: Vec<(String, Content)>,
    body: Vec<(String, Content)>,
    secret_env: Option<String>,
    oauth: Option<ClientCredentials>,
    allow_private: bool,
}

/// Calls a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Call(pub(crate) HttpCall);

/// The id of the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Called {
    #[serde(serialize_with = "outbox::text_of_id")]
    pub(crate) call: Uuid,
}

impl Kind for Call {
    type File = CallFile;
    type Action = CallAction;
    type Done = Called;

    fn check(written: &CallFile, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<CallAction> {
        let method = match &written.method {
            None => Some("POST".to_owned()),
            Some(method) => checker.literal(method, is_method, "POST, PUT, PATCH or DELETE"),
        };
        let origin = origin(written.url.get_ref());
        if let Some(problem) = origin
            .as_ref()
            .and_then(|url| address_problem(url, written.allow_private))
        {
            let message = format!("{problem}; expected a public one, or allow_private = true");
            checker.at::<()>(written.url.span().start, &message);
        }
        if origin.is_none() {
            let message = format!(
                "found {:?}, expected a URL whose scheme (http or https) and host are written out",
                written.url.get_ref()
            );
            checker.at::<()>(written.url.span().start, &message);
        }
        let url = checker.compiled(Content::url(written.url.get_ref()), &written.url, sees);
        let mut headers = Vec::new();
        for (name, value) in &written.headers {
            let name = checker.literal(name, is_header, "the name of a header");
            let value = checker.text(value, sees);
            headers.extend(name.zip(value));
        }
        let secret_env = match &written.secret_env {
            None => None,
            Some(name) => Some(checker.literal(name, is_variable, "the name of an environment variable")?),
        };
        let oauth = written.oauth.as_ref();
        let problem = oauth.and_then(|oauth| oauth.get_ref().problem(written.allow_private));
        if let (Some(oauth), Some(problem)) = (oauth, problem) {
            checker.at::<()>(oauth.span().start, &format!("oauth: {problem}"));
        }
        let body = checker.fields(&written.body, sees);
        Some(CallAction {
            method: method?,
            url: url?,
            headers,
            body: body?,
            secret_env,
            oauth: oauth.map(|oauth| oauth.get_ref().clone()),
            allow_private: written.allow_private,
        })
    }

    async fn write(
        all: &[Made<'_, Self>],
        batch: &Batch<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<Called>> {
        let rows = all.iter().map(|made| {
            let event = &made.event.envelope;
            let body = CallBody {
                event_id: event.event_id.to_string(),
                event_type: event.event_type.to_string(),
                entity_id: event.entity_id.to_string(),
                call: &made.effect.0,
            };
            NewRow {
                id: outbox::id(made.event, made.rule, made.index, "", CALL),
                position: made.event.position,
                rule: made.rule,
                channel: CALL,
                user_id: None,
                session: None,
                topic: None,
                body: outbox::json(&body),
                traceparent: event.traceparent.as_deref(),
                decision: Decision::Send,
            }
        });
        let rows: Vec<NewRow<'_>> = rows.collect();
        outbox::add(connection, batch.now, &rows).await?;
        Ok(rows.iter().map(|row| Called { call: row.id }).collect())
    }

    fn line(effect: &Value) -> String {
        let (method, url) = (text(effect, "method"), text(effect, "url"));
        format!("call {method} {url}: {}", effect["body"])
    }

    fn committed(_done: &Called, after: &mut AfterCommit) {
        after.fills_outbox = true;
    }
}

impl Compiled for CallAction {
    type Effect = Call;

    fn eval(&self, names: &Names) -> Result<Call, EvalError> {
        Ok(Call(HttpCall {
            method: self.method.clone(),
            url: address(&self.url.eval_text(names).map_err(|error| error.about("url"))?)?,
            headers: self
                .headers
                .iter()
                .map(|(name, value)| Ok((name.clone(), header(value.eval_text(names)?)?)))
                .collect::<Result<_, EvalError>>()
                .map_err(|error| error.about("headers"))?,
            body: Value::Object(object("body", &self.body, names)?),
            secret_env: self.secret_env.clone(),
            oauth: self.oauth.clone(),
            allow_private: self.allow_private,
        }))
    }

    fn paths(&self) -> Vec<String> {
        let url = self.url.paths().into_iter();
        url.chain(paths_of(&self.headers)).chain(paths_of(&self.body)).collect()
    }

    fn secrets(&self) -> Vec<&str> {
        let of_client = self.oauth.as_ref().map(ClientCredentials::secret_variable);
        self.secret_env.as_deref().into_iter().chain(of_client).collect()
    }
}

fn is_method(name: &str) -> bool {
    matches!(name, "POST" | "PUT" | "PATCH" | "DELETE")
}

fn is_header(name: &str) -> bool {
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Scheme and host of a URL whose host no event can choose: expressions may stand after the first `/` of its path.
fn origin(url: &str) -> Option<Url> {
    let (scheme, rest) = url.split_once("://")?;
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let origin = format!("{scheme}://{}", &rest[..authority_end]);
    if !matches!(scheme, "http" | "https") || origin.contains('{') {
        return None;
    }
    Url::parse(&origin).ok()
}

fn address(url: &str) -> Result<String, EvalError> {
    let Some(parsed) = Url::parse(url)
        .ok()
        .filter(|parsed| matches!(parsed.scheme(), "http" | "https"))
    else {
        let message = "url: found no valid one, expected http:// or https://";
        return Err(EvalError(message.to_owned()));
    };
    if segments(path(url)) != segments(parsed.path()) {
        let message = "url: found a path that leads to another one, such as by `..`, expected one that is called as it is written";
        return Err(EvalError(message.to_owned()));
    }
    Ok(parsed.into())
}

/// The path of a URL as it is written, before anybody has resolved it.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    rest.find('/').map_or("/", |start| &rest[start..])
}

fn segments(path: &str) -> Vec<Vec<u8>> {
    path.split('/')
        .map(|segment| percent_decode_str(segment).collect())
        .collect()
}

fn header(value: String) -> Result<String, EvalError> {
    match reqwest::header::HeaderValue::from_str(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(EvalError("found what no header may hold".to_owned())),
    }
}
