//! Where secrets come from, and how they change.

use std::fs;
use std::time::Duration;

use super::*;

const BEARER: &str = "format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme.kind = \"bearer\"\n";
const GENERATED: &str =
    "format = \"envelope\"\nsecret = { env = \"SECRET\", generated = true }\nscheme.kind = \"standard-webhooks\"\n";

async fn bearer(source: &Source, token: &str) -> Result<Verified, Refused> {
    verify(source, &[("authorization", &format!("Bearer {token}"))], b"{}").await
}

#[actix_web::test]
async fn source_without_its_variables_is_loaded_and_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let file = "format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme = { kind = \"square\", url_env = \"URL\" }\n";
    fs::write(dir.path().join("shop.toml"), file).unwrap();
    let sources = load(dir.path(), clock(), &[]).unwrap();
    let source = sources.get("shop").unwrap();
    assert!(!source.is_configured());
    assert_eq!(source.missing(), ["SECRET", "URL"]);
    assert_eq!(verify(source, &[], b"{}").await, Err(Refused::NotConfigured));
    assert!(sources.get("other").is_none());
}

#[tokio::test(start_paused = true)]
async fn secret_in_a_file_is_rotated_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.toml"), BEARER).unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "old\n").unwrap();
    let sources = load(dir.path(), clock(), &[("SECRET_FILE", file.to_str().unwrap())]).unwrap();
    let source = sources.get("shop").unwrap();
    assert_eq!(bearer(source, "old").await, Ok(Verified { secret: 0 }));

    fs::write(&file, "new\nold\n").unwrap();
    // The runtime's clock is paused and jumps: this is no waiting.
    tokio::time::timeout(Duration::from_secs(30), async {
        while bearer(source, "new").await.is_err() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bearer(source, "old").await, Ok(Verified { secret: 1 }));
}

#[test]
fn source_waits_for_the_secret_that_is_made_for_it_and_keeps_it_when_it_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("generic.toml"), GENERATED).unwrap();
    let surroundings = surroundings(clock(), &[]);
    let (first, _) = Sources::load(dir.path(), &surroundings, None);
    let source = first.get("generic").unwrap();
    assert!(source.awaits_secret() && !source.is_configured());
    let secret = super::super::new_secret().unwrap();
    source.give_secret(&secret).unwrap();
    surroundings.made.remember("generic", secret);
    assert!(source.is_configured());

    fs::write(
        dir.path().join("generic.toml"),
        format!("{GENERATED}limits.batch_items = 1\n"),
    )
    .unwrap();
    let (second, _) = Sources::load(dir.path(), &surroundings, Some(&first));
    let now = clock().now();
    let sign = |sources: &Sources| sources.get("generic").unwrap().sign("msg_1", now, b"{}").unwrap();
    assert_eq!(sign(&first), sign(&second));
}

#[test]
fn source_whose_file_is_unchanged_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.toml"), BEARER).unwrap();
    fs::write(dir.path().join("other.toml"), BEARER).unwrap();
    let surroundings = surroundings(clock(), &[("SECRET", "hunter2hunter2")]);
    let (first, _) = Sources::load(dir.path(), &surroundings, None);
    fs::write(dir.path().join("other.toml"), format!("priority = 'low'\n{BEARER}")).unwrap();
    let (second, _) = Sources::load(dir.path(), &surroundings, Some(&first));
    let is_same = |name: &str| Arc::ptr_eq(first.get(name).unwrap(), second.get(name).unwrap());
    assert!(is_same("shop") && !is_same("other"));
}

#[test]
fn variable_comes_before_a_secret_that_would_be_made() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("generic.toml"), GENERATED).unwrap();
    let secret = format!("whsec_{}", STANDARD.encode([3; 32]));
    let sources = load(dir.path(), clock(), &[("SECRET", &secret)]).unwrap();
    let source = sources.get("generic").unwrap();
    assert!(source.is_configured() && !source.awaits_secret());
}
