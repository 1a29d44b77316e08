//! Where secrets come from, and how they change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::auth::Exposure;

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
    assert_eq!(sources.iter().count(), 1);
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
fn secret_is_made_once_and_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("generic.toml"), GENERATED).unwrap();
    let data_dir = data.path().join("not-yet");
    let now = clock().now();
    let sign = || {
        let sources =
            Sources::load_with(dir.path(), &data_dir, Exposure::Loopback, clock(), http(), &|_| None).unwrap();
        let source = sources.get("generic").unwrap();
        assert!(source.is_configured());
        source.sign("msg_1", now, b"{}").unwrap()
    };
    assert_eq!(sign(), sign());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir.join("secrets")), 0o700);
    assert_eq!(mode(&data_dir.join("secrets/generic")), 0o600);
    assert_eq!(fs::read_dir(data_dir.join("secrets")).unwrap().count(), 1);
}

#[test]
fn processes_that_start_at_once_have_one_secret() {
    let data = tempfile::tempdir().unwrap();
    let start = std::sync::Barrier::new(8);
    let made: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let path = super::super::secret::made(data.path(), "generic").unwrap();
                    fs::read_to_string(path).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made[0].starts_with("whsec_"));
    assert!(made.iter().all(|secret| *secret == made[0]));
}

#[test]
fn variable_comes_before_a_secret_that_would_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("generic.toml"), GENERATED).unwrap();
    let secret = format!("whsec_{}", STANDARD.encode([3; 32]));
    let variable = |name: &str| (name == "SECRET").then(|| secret.clone());
    let sources = Sources::load_with(dir.path(), data.path(), Exposure::Loopback, clock(), http(), &variable).unwrap();
    assert!(sources.get("generic").unwrap().is_configured());
    assert!(!data.path().join("secrets").exists());
}
