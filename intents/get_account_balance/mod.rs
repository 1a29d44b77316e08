//! “What is my account balance?”

use std::time::Duration;

use chrono::{DateTime, Utc};
use rejoinder::{Cache, Data, Db, Fail, Kept, Lang, Params, Reply};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::Settings;

/// What the user asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    user_id: String,
    #[serde(default)]
    account_type: Kind,
}

/// Which account.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Checking,
    Savings,
    Credit,
}

/// The account that the conversation is about.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AccountInfo {
    #[serde(with = "rust_decimal::serde::float")]
    balance: Decimal,
    account_type: Kind,
    last_updated: DateTime<Utc>,
}

impl Kept for AccountInfo {
    const CONTEXT: &'static str = "account-info";
}

/// An account as it stands in the database.
#[derive(Debug, Deserialize, Serialize)]
struct Account {
    balance: Decimal,
    updated_at: DateTime<Utc>,
}

pub(crate) async fn handle(
    Params(query): Params<Query>,
    settings: Data<Settings>,
    lang: Lang,
    cache: Cache,
    db: Option<Db>,
) -> Result<Reply, Fail> {
    let kind = query.account_type;
    let load = async {
        let db = db.ok_or_else(|| Fail::Upstream(anyhow::anyhow!("the database does not answer")))?;
        account(&db, &query.user_id, kind).await
    };
    let account = match settings.balance_cache_s {
        0 => load.await?,
        seconds => {
            let key = format!("{}/{}", query.user_id, kind.column());
            cache.get_or_fetch(&key, Duration::from_secs(seconds), load).await?
        }
    };
    let Some(account) = account else {
        return Ok(Reply::text(lang.pick([
            (
                "en",
                format!(
                    "I cannot find a {} account for customer {}.",
                    kind.column(),
                    query.user_id
                ),
            ),
            (
                "de",
                format!("Ich finde kein solches Konto für Kundennummer {}.", query.user_id),
            ),
        ])));
    };
    let info = AccountInfo {
        balance: account.balance,
        account_type: kind,
        last_updated: account.updated_at,
    };
    Ok(Reply::text(lang.pick([
        (
            "en",
            format!(
                "Your {} account balance is ${}. Would you like to see recent transactions?",
                kind.column(),
                account.balance
            ),
        ),
        ("de", format!("Der Stand ist {} $.", account.balance)),
    ]))
    .keep(info)
    .source("banking-api"))
}

impl Kind {
    fn column(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Savings => "savings",
            Self::Credit => "credit",
        }
    }
}

async fn account(db: &Db, customer: &str, kind: Kind) -> Result<Option<Account>, Fail> {
    let account = sqlx::query_as!(
        Account,
        "select balance, updated_at from accounts where customer_id = $1 and kind = $2",
        customer,
        kind.column()
    )
    .fetch_optional(db.read())
    .await?;
    Ok(account)
}
