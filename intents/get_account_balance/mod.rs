//! “What is my account balance?”

use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use rejoinder::{Cache, Data, Db, Fail, Kept, Lang, Memory, Params, Reply};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::{self, Kind};
use crate::money::money;
use crate::settings::Settings;

/// What the user asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    user_id: Option<String>,
    #[serde(default)]
    account_type: Kind,
}

/// The account that the conversation is about.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AccountInfo {
    #[serde(with = "rust_decimal::serde::float")]
    balance: Decimal,
    /// Which it is.
    pub(crate) account_type: Kind,
    last_updated: DateTime<Utc>,
    /// Whose it is.
    pub(crate) user_id: String,
}

impl Kept for AccountInfo {
    const CONTEXT: &'static str = "account-info";
}

/// An account as it stands in the database.
#[derive(Debug, Deserialize, Serialize)]
struct Account {
    balance: Decimal,
    currency: String,
    updated_at: DateTime<Utc>,
}

pub(crate) async fn handle(
    Params(query): Params<Query>,
    settings: Data<Settings>,
    lang: Lang,
    memory: Memory,
    cache: Cache,
    db: Option<Db>,
) -> Result<Reply, Fail> {
    let kind = query.account_type;
    let customer = account::customer(query.user_id, &memory, &settings, &lang).await?;
    // What is cached is told even while the database is down.
    let load = async {
        let db = db.ok_or_else(|| Fail::Upstream(anyhow!("the database does not answer")))?;
        find(&db, &customer, kind).await
    };
    let found = match settings.balance_cache_s {
        0 => load.await?,
        seconds => {
            let key = format!("{}/{customer}", kind.column());
            cache.get_or_fetch(&key, Duration::from_secs(seconds), load).await?
        }
    };
    let Some(account) = found else {
        return Ok(Reply::text(account::none(kind, &customer, &lang)));
    };
    let (name, balance) = (kind.name(&lang), money(account.balance, &account.currency, &lang));
    let text = lang.pick([
        (
            "en",
            format!("Your {name} balance is {balance}. Would you like to see recent transactions?"),
        ),
        (
            "de",
            format!("Der Stand Ihres {name}s ist {balance}. Möchten Sie die letzten Umsätze sehen?"),
        ),
    ]);
    let info = AccountInfo {
        balance: account.balance,
        account_type: kind,
        last_updated: account.updated_at,
        user_id: customer,
    };
    Ok(Reply::text(text).keep(info).source("banking-api"))
}

async fn find(db: &Db, customer: &str, kind: Kind) -> Result<Option<Account>, Fail> {
    let account = sqlx::query_as!(
        Account,
        "select balance, currency, updated_at from accounts where customer_id = $1 and kind = $2",
        customer,
        kind.column()
    )
    .fetch_optional(db.read())
    .await?;
    Ok(account)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use rejoinder::testing::TestBot;
    use serde_json::{Value, json};

    use crate::tests::{ask, start, text};

    async fn balance(bot: &TestBot) -> Value {
        bot.turn(&ask("Get Account Balance", json!({"user_id": "12345"}))).await
    }

    async fn spend_all(bot: &TestBot) {
        sqlx::query("update accounts set balance = -0.5 where customer_id = '12345' and kind = 'checking'")
            .execute(bot.pool())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn balance_is_cached_for_as_long_as_the_setting_says() {
        let bot = start(|settings| settings.balance_cache_s = 5).await;
        let first = balance(&bot).await;
        spend_all(&bot).await;
        bot.clock().advance(TimeDelta::milliseconds(4_999));
        assert_eq!(text(&balance(&bot).await), text(&first));
        bot.clock().advance(TimeDelta::milliseconds(1));
        let then = text(&balance(&bot).await);
        assert!(then.contains("is -$0.50."), "{then}");
    }

    #[tokio::test]
    async fn zero_seconds_are_no_cache() {
        let bot = start(|settings| settings.balance_cache_s = 0).await;
        let before = text(&balance(&bot).await);
        assert!(before.contains("is $3,247.82."), "{before}");
        spend_all(&bot).await;
        let after = text(&balance(&bot).await);
        assert!(after.contains("is -$0.50."), "{after}");
    }
}
