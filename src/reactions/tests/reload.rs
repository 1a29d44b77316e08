//! Rules are put in force all at once, or not at all.

use super::*;
use crate::event::pattern::Pattern;
use crate::rulebook::Reload;

const RULE: &str = "on = ['any.x']\n[[do]]\nrun = 'confirm_order'\n";

fn names(book: &Rulebook) -> Vec<String> {
    book.edition()
        .rules
        .all()
        .iter()
        .map(|rule| rule.name.clone())
        .collect()
}

#[test]
fn wrong_file_leaves_the_old_rules_and_a_right_one_replaces_them() {
    let dir = events_dir(&[("reactions/a.toml", RULE)]);
    let book = Rulebook::load(dir.path(), RUN, &surroundings()).unwrap();
    let taken = book.edition();
    assert_eq!(book.reload_if_changed(), Reload::Unchanged);

    write(dir.path(), "reactions/b.toml", "on = ['nothing']\n");
    let Reload::Refused(errors) = book.reload_if_changed() else {
        panic!();
    };
    assert!(errors[0].file.ends_with("reactions/b.toml"), "{errors:?}");
    assert_eq!(book.reload_if_changed(), Reload::Unchanged);
    assert_eq!(names(&book), ["a"]);

    write(dir.path(), "reactions/b.toml", RULE);
    assert_eq!(book.reload_if_changed(), Reload::Swapped);
    assert_eq!(names(&book), ["a", "b"]);
    assert_eq!(taken.rules.all().len(), 1);
}

#[test]
fn schema_that_a_rule_needs_cannot_be_taken_from_under_it() {
    let rule = "on = ['payment.confirmed']\nwhen = 'payload.amount > 1'\n[[do]]\nrun = 'confirm_order'\n";
    let dir = events_dir(&[("reactions/a.toml", rule)]);
    let book = Rulebook::load(dir.path(), RUN, &surroundings()).unwrap();
    write(
        dir.path(),
        "schemas/payment.confirmed/2.json",
        r#"{"properties": {"sum": {}}}"#,
    );
    assert!(matches!(book.reload_if_changed(), Reload::Refused(_)));
    assert_eq!(book.edition().catalogue.latest("payment.confirmed"), Some(1));
}

#[test]
fn channels_are_those_that_have_a_file() {
    let dir = events_dir(&[]);
    let book = Rulebook::load(dir.path(), RUN, &surroundings()).unwrap();
    let rule = "on = ['any.x']\n[[do]]\nnotify = { topic = 'a', text = 'b', channel = 'sms' }\n";
    write(dir.path(), "reactions/sms.toml", rule);
    assert!(matches!(book.reload_if_changed(), Reload::Refused(_)));
    write(
        dir.path(),
        "channels/sms.toml",
        "url = 'ftp://sms.example.com/'\nsecret_env = 'SMS_SECRET'\n",
    );
    let Reload::Refused(errors) = book.reload_if_changed() else {
        panic!();
    };
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].file.ends_with("channels/sms.toml"), "{errors:?}");
    write(dir.path(), "channels/sms.toml", CHANNEL);
    assert_eq!(book.reload_if_changed(), Reload::Swapped);
}

#[tokio::test(start_paused = true)]
async fn change_is_noticed_while_watching() {
    let dir = events_dir(&[]);
    let book = std::sync::Arc::new(Rulebook::load(dir.path(), RUN, &surroundings()).unwrap());
    let watching = tokio::spawn(std::sync::Arc::clone(&book).watch(std::time::Duration::from_secs(2), None));
    write(dir.path(), "reactions/a.toml", RULE);
    while names(&book).is_empty() {
        tokio::task::yield_now().await;
    }
    watching.abort();
}

#[test]
fn shipped_files_are_right() {
    let events_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let book = Rulebook::load(&events_dir, RUN, &surroundings()).unwrap();
    let edition = book.edition();
    assert_eq!(
        edition.rules.by_name("order_shipped").unwrap().types(),
        [Pattern::parse("order.shipped").unwrap()]
    );
    assert_eq!(edition.catalogue.latest("order.shipped"), Some(2));
    let old = serde_json::json!({"tracking": "1Z"});
    let (_, payload) = edition.catalogue.upcast("order.shipped", 1, old).unwrap();
    let scope = scope("order.shipped", &payload);
    for rule in edition.rules.listening("order.shipped") {
        assert_eq!(rule.when(&scope), Ok(true));
        assert_eq!(rule.effects(&scope).unwrap().len(), 4);
    }
}
