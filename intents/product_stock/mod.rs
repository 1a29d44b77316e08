//! “Do you have the laptop in Berlin?”

use rejoinder::{Db, Fail, Lang, Params, Reply, Texts};
use serde::Deserialize;

/// Asks for `product`.
pub(crate) const WHAT: Texts = &[
    ("en", "Which product are you looking for?"),
    ("de", "Welches Produkt suchen Sie?"),
];

/// What the user asks for; without a store, all of them.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    product: String,
    store: Option<String>,
}

/// One store's shelf.
#[derive(Debug)]
struct Shelf {
    store: String,
    quantity: i32,
}

pub(crate) async fn handle(Params(query): Params<Query>, lang: Lang, db: Db) -> Result<Reply, Fail> {
    let product = query.product.trim().to_lowercase();
    let shelves = shelves(&db, &product).await?;
    let product = title(&product);
    if shelves.is_empty() {
        return Ok(Reply::text(lang.pick([
            (
                "en",
                format!("I do not know a product called “{product}”. Could you name it another way?"),
            ),
            (
                "de",
                format!("Ich kenne kein Produkt „{product}“. Können Sie es anders nennen?"),
            ),
        ])));
    }
    let Some(asked) = query.store else {
        return Ok(Reply::text(everywhere(&product, &shelves, &lang)));
    };
    let asked = asked.trim().to_lowercase();
    let text = match shelves.iter().find(|shelf| shelf.store == asked) {
        Some(shelf) if shelf.quantity > 0 => at(&product, shelf, &lang),
        Some(shelf) => {
            let (store, rest) = (title(&shelf.store), everywhere(&product, &shelves, &lang));
            let is_left = shelves.iter().any(|shelf| shelf.quantity > 0);
            match is_left {
                true => lang.pick([
                    ("en", format!("Not in {store}, sorry. {rest}")),
                    ("de", format!("In {store} leider nicht. {rest}")),
                ]),
                false => rest,
            }
        }
        None => {
            let (asked, rest) = (title(&asked), everywhere(&product, &shelves, &lang));
            lang.pick([
                ("en", format!("We have no store in {asked}. {rest}")),
                ("de", format!("In {asked} haben wir keine Filiale. {rest}")),
            ])
        }
    };
    Ok(Reply::text(text))
}

fn at(product: &str, shelf: &Shelf, lang: &Lang) -> String {
    let (store, quantity) = (title(&shelf.store), shelf.quantity);
    match quantity {
        1 => lang.pick([
            ("en", format!("{product}: there is one left in our {store} store.")),
            ("de", format!("{product}: In unserer Filiale {store} ist noch eins da.")),
        ]),
        _ => lang.pick([
            (
                "en",
                format!("{product}: there are {quantity} in stock in our {store} store."),
            ),
            (
                "de",
                format!("{product}: In unserer Filiale {store} sind {quantity} vorrätig."),
            ),
        ]),
    }
}

/// Where there is some, and how many.
fn everywhere(product: &str, shelves: &[Shelf], lang: &Lang) -> String {
    let stores: Vec<String> = shelves
        .iter()
        .filter(|shelf| shelf.quantity > 0)
        .map(|shelf| format!("{} ({})", title(&shelf.store), shelf.quantity))
        .collect();
    let Some((last, others)) = stores.split_last() else {
        return lang.pick([
            ("en", format!("{product} is sold out in all our stores at the moment.")),
            ("de", format!("{product} ist zurzeit in allen Filialen ausverkauft.")),
        ]);
    };
    let and = lang.pick([("en", "and"), ("de", "und")]);
    let stores = match others {
        [] => last.clone(),
        others => format!("{} {and} {last}", others.join(", ")),
    };
    lang.pick([
        ("en", format!("{product} is in stock in {stores}.")),
        ("de", format!("{product} ist vorrätig in {stores}.")),
    ])
}

/// With capital letters, as names of products and stores are kept in lower case.
fn title(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect::<String>()
    };
    name.split_whitespace().map(capital).collect::<Vec<_>>().join(" ")
}

/// What each store has, the fullest first.
async fn shelves(db: &Db, product: &str) -> Result<Vec<Shelf>, Fail> {
    let shelves = sqlx::query_as!(
        Shelf,
        "select store, quantity from stock where product = $1 order by quantity desc, store",
        product
    )
    .fetch_all(db.read())
    .await?;
    Ok(shelves)
}
