//! Secrets change while the service runs.

use std::fs;
use std::time::Duration;

use super::*;

#[actix_web::test]
async fn rotation_has_both_secrets_live_then_only_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bearer");
    fs::write(&path, "old-token\n").unwrap();
    let auth = auth(|settings| settings.auth_bearer_file = Some(path.clone()));
    assert_eq!(bearer(&auth, "old-token").await, Ok(Caller::Bearer));
    assert_eq!(bearer(&auth, "new-token").await, Err(Refused::Rejected));

    fs::write(&path, "old-token\r\nnew-token\r\n").unwrap();
    auth.reload();
    assert_eq!(bearer(&auth, "old-token").await, Ok(Caller::Bearer));
    assert_eq!(bearer(&auth, "new-token").await, Ok(Caller::Bearer));

    fs::write(&path, "new-token").unwrap();
    auth.reload();
    assert_eq!(bearer(&auth, "old-token").await, Err(Refused::Rejected));
    assert_eq!(bearer(&auth, "new-token").await, Ok(Caller::Bearer));
}

#[actix_web::test]
async fn setting_stays_live_beside_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("basic");
    fs::write(&path, "file:one").unwrap();
    let auth = auth(|settings| {
        settings.auth_basic = secret("setting:zero");
        settings.auth_basic_file = Some(path.clone());
    });
    fs::write(&path, "file:two").unwrap();
    auth.reload();
    assert!(basic(&auth, "setting:zero").await.is_ok());
    assert!(basic(&auth, "file:two").await.is_ok());
    assert_eq!(basic(&auth, "file:one").await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn unusable_file_keeps_the_old_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("basic");
    fs::write(&path, "user:one").unwrap();
    let auth = auth(|settings| settings.auth_basic_file = Some(path.clone()));

    for unusable in ["", "\n \n", "user:one\nno colon", "user:"] {
        fs::write(&path, unusable).unwrap();
        auth.reload();
        assert!(basic(&auth, "user:one").await.is_ok(), "{unusable:?}");
    }
    fs::remove_file(&path).unwrap();
    auth.reload();
    assert!(basic(&auth, "user:one").await.is_ok());

    fs::write(&path, "user:two").unwrap();
    auth.reload();
    assert!(basic(&auth, "user:two").await.is_ok());
    assert_eq!(basic(&auth, "user:one").await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn keys_and_signing_secrets_rotate_too() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, hmac) = (directory.path().join("keys"), directory.path().join("hmac"));
    fs::write(&keys, format!("{}{}", RSA.public_pem, EC.public_pem)).unwrap();
    fs::write(&hmac, "signing-secret-number-one").unwrap();
    let auth = auth(|settings| {
        settings.auth_jwt_key_file = Some(keys.clone());
        settings.auth_hmac_secret_file = Some(hmac.clone());
    });
    let signed = |secret: &str, body: &[u8]| {
        let signature = super::super::signature::sign(secret.as_bytes(), NOW, body);
        headers([
            ("x-rejoinder-timestamp", &NOW.to_string()),
            ("x-rejoinder-signature", &signature),
        ])
    };
    assert!(bearer(&auth, &RSA.token(&claims(json!({})))).await.is_ok());
    assert!(bearer(&auth, &EC.token(&claims(json!({})))).await.is_ok());
    assert_eq!(
        auth.admit(&signed("signing-secret-number-one", b"1"), b"1").await,
        Ok(Caller::Hmac)
    );

    fs::write(&keys, &OTHER_RSA.public_pem).unwrap();
    fs::write(&hmac, "signing-secret-number-two").unwrap();
    auth.reload();
    assert!(bearer(&auth, &OTHER_RSA.token(&claims(json!({})))).await.is_ok());
    assert_eq!(
        bearer(&auth, &RSA.token(&claims(json!({})))).await,
        Err(Refused::Rejected)
    );
    assert_eq!(
        auth.admit(&signed("signing-secret-number-two", b"2"), b"2").await,
        Ok(Caller::Hmac)
    );
    assert_eq!(
        auth.admit(&signed("signing-secret-number-one", b"3"), b"3").await,
        Err(Refused::Rejected)
    );
}

#[tokio::test(start_paused = true)]
async fn changed_file_is_taken_over_without_being_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bearer");
    fs::write(&path, "old-token").unwrap();
    let auth = auth(|settings| settings.auth_bearer_file = Some(path.clone()));
    fs::write(&path, "new-token").unwrap();
    // The runtime's clock is paused and jumps: this is no waiting.
    tokio::time::timeout(Duration::from_secs(30), async {
        while bearer(&auth, "new-token").await.is_err() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bearer(&auth, "old-token").await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn half_written_file_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bearer");
    fs::write(&path, "old-token").unwrap();
    let auth = auth(|settings| settings.auth_bearer_file = Some(path.clone()));

    fs::write(&path, "new").unwrap();
    auth.secrets.poll();
    fs::write(&path, "new-token").unwrap();
    auth.secrets.poll();
    assert_eq!(bearer(&auth, "new").await, Err(Refused::Rejected));
    assert_eq!(bearer(&auth, "old-token").await, Ok(Caller::Bearer));
    auth.secrets.poll();
    assert_eq!(bearer(&auth, "new-token").await, Ok(Caller::Bearer));
}
