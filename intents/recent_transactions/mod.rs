//! “Show me my recent transactions”, and “more”.

use chrono::{DateTime, Utc};
use rejoinder::reply::message::{Alignment, ColumnProperties, QuickReplies, TableCard, TableCardCell, TableCardRow};
use rejoinder::{Context, Data, Db, Fail, Kept, Lang, Memory, Message, Params, Platform, Reply};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::account::{self, Kind};
use crate::day;
use crate::get_account_balance::AccountInfo;
use crate::money::money;
use crate::settings::Settings;

/// How many are told at a time.
const PAGE: usize = 5;

/// What the user asks for; what is missing is taken from the account the conversation is about.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    user_id: Option<String>,
    account_type: Option<Kind>,
}

/// How far the list has been told.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct List {
    user_id: String,
    account_type: Kind,
    /// How many have been told.
    offset: u32,
}

impl Kept for List {
    const CONTEXT: &'static str = "transactions-list";
}

/// A transaction as it stands in the database.
#[derive(Debug)]
struct Transaction {
    booked_at: DateTime<Utc>,
    payee: String,
    amount: Decimal,
    currency: String,
}

pub(crate) async fn handle(
    Params(query): Params<Query>,
    about: Option<Context<AccountInfo>>,
    settings: Data<Settings>,
    lang: Lang,
    memory: Memory,
    db: Db,
) -> Result<Reply, Fail> {
    let about = about.map(|Context(account)| account);
    let known = about.as_ref().map(|account| account.account_type);
    let asked = query.user_id.or(about.map(|account| account.user_id));
    let list = List {
        user_id: account::customer(asked, &memory, &settings, &lang).await?,
        account_type: query.account_type.or(known).unwrap_or_default(),
        offset: 0,
    };
    tell(list, &lang, &db).await
}

/// “More”, “go on”.
pub(crate) async fn more(
    Context(list): Context<List>,
    settings: Data<Settings>,
    lang: Lang,
    memory: Memory,
    db: Db,
) -> Result<Reply, Fail> {
    let user_id = account::customer(Some(list.user_id), &memory, &settings, &lang).await?;
    tell(List { user_id, ..list }, &lang, &db).await
}

/// Tells the next page of the list, and keeps how far that is.
async fn tell(list: List, lang: &Lang, db: &Db) -> Result<Reply, Fail> {
    let mut page = transactions(db, &list).await?;
    let has_more = page.len() > PAGE;
    page.truncate(PAGE);
    let told = list.offset;
    let list = List {
        offset: told + page.len() as u32,
        ..list
    };
    let text = match (page.is_empty(), told) {
        (true, 0) => none(&list, lang),
        (true, _) => lang.pick([
            ("en", format!("There are no more. You have heard all {told}.")),
            ("de", format!("Es gibt keine weiteren. Das waren alle {told}.")),
        ]),
        (false, _) => lines(&page, &list, told, has_more, lang),
    };
    let mut reply = Reply::text(text);
    if !page.is_empty() {
        let table = Message::TableCard(table(&page, &list, lang));
        reply = reply.on(Platform::ActionsOnGoogle, table);
    }
    if has_more {
        let (title, more, balance) = lang.pick([
            ("en", ("Shall I go on?", "Show more", "Account balance")),
            ("de", ("Soll ich weitermachen?", "Mehr anzeigen", "Kontostand")),
        ]);
        reply = reply.and(Message::QuickReplies(QuickReplies {
            title: title.to_owned(),
            quick_replies: vec![more.to_owned(), balance.to_owned()],
        }));
    }
    Ok(reply.keep(list).source("banking-api"))
}

fn none(list: &List, lang: &Lang) -> String {
    let name = list.account_type.name(lang);
    let customer = &list.user_id;
    lang.pick([
        (
            "en",
            format!("I cannot find any {name} transactions for customer number {customer}."),
        ),
        (
            "de",
            format!("Ich finde zur Kundennummer {customer} keine Umsätze auf einem {name}."),
        ),
    ])
}

/// All of the page in words, for platforms that show nothing else.
fn lines(page: &[Transaction], list: &List, told: u32, has_more: bool, lang: &Lang) -> String {
    let name = list.account_type.name(lang);
    let opening = match told {
        0 => lang.pick([
            ("en", format!("Here are the latest transactions of your {name}:")),
            ("de", format!("Das sind die letzten Umsätze Ihres {name}s:")),
        ]),
        _ => lang.pick([("en", "And before that:".to_owned()), ("de", "Und davor:".to_owned())]),
    };
    let mut lines = vec![opening];
    for transaction in page {
        let [booked_on, payee, amount] = transaction.cells(lang);
        lines.push(format!("{booked_on}: {payee}, {amount}"));
    }
    if !has_more {
        let all = list.offset;
        lines.push(lang.pick([
            (
                "en",
                match all {
                    1 => "That is the only one.".to_owned(),
                    _ => format!("That is the end of the list, {all} in all."),
                },
            ),
            (
                "de",
                match all {
                    1 => "Das ist der einzige.".to_owned(),
                    _ => format!("Das ist das Ende der Liste, insgesamt {all}."),
                },
            ),
        ]));
    }
    lines.join("\n")
}

fn table(page: &[Transaction], list: &List, lang: &Lang) -> TableCard {
    let row = |transaction: &Transaction| TableCardRow {
        cells: transaction
            .cells(lang)
            .into_iter()
            .map(|text| TableCardCell { text })
            .collect(),
        divider_after: false,
    };
    let (day, payee, amount) = lang.pick([
        ("en", ("Date", "Payee", "Amount")),
        ("de", ("Datum", "Empfänger", "Betrag")),
    ]);
    let column = |header: &str, alignment: Alignment| ColumnProperties {
        header: header.to_owned(),
        horizontal_alignment: Some(alignment),
    };
    let title = lang.pick([("en", "Recent transactions"), ("de", "Letzte Umsätze")]);
    TableCard {
        title: title.to_owned(),
        subtitle: list.account_type.name(lang).to_owned(),
        column_properties: vec![
            column(day, Alignment::Leading),
            column(payee, Alignment::Leading),
            column(amount, Alignment::Trailing),
        ],
        rows: page.iter().map(row).collect(),
        ..TableCard::default()
    }
}

impl Transaction {
    fn cells(&self, lang: &Lang) -> [String; 3] {
        [
            day::short(self.booked_at.date_naive(), lang),
            self.payee.clone(),
            money(self.amount, &self.currency, lang),
        ]
    }
}

/// The next page, and one more, if there is one.
async fn transactions(db: &Db, list: &List) -> Result<Vec<Transaction>, Fail> {
    let transactions = sqlx::query_as!(
        Transaction,
        "select booked_at, payee, amount, currency
         from transactions join accounts using (customer_id, kind)
         where customer_id = $1 and kind = $2
         order by booked_at desc, id desc limit $3 offset $4",
        list.user_id,
        list.account_type.column(),
        PAGE as i64 + 1,
        i64::from(list.offset)
    )
    .fetch_all(db.read())
    .await?;
    Ok(transactions)
}
