//! Basic credentials and opaque bearer tokens.

use super::*;

#[actix_web::test]
async fn basic_admits_each_live_pair_and_nothing_else() {
    let auth = auth(|settings| settings.auth_basic = secret("dialogflow:one:two\nother:p\u{e4}ss\n"));
    let admitted = |user: &str| Ok(Caller::Basic { user: user.to_owned() });
    assert_eq!(basic(&auth, "dialogflow:one:two").await, admitted("dialogflow"));
    assert_eq!(basic(&auth, "other:p\u{e4}ss").await, admitted("other"));
    for wrong in [
        "dialogflow:one",
        "dialogflow:one:two ",
        "dialogflow:p\u{e4}ss",
        "dialogflow",
        ":",
        "",
    ] {
        assert_eq!(basic(&auth, wrong).await, Err(Refused::Rejected), "{wrong:?}");
    }
    assert_eq!(call(&auth, "Basic !!!").await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn scheme_names_ignore_case() {
    let auth = auth(|settings| {
        settings.auth_basic = secret("u:p");
        settings.auth_bearer = secret("token-1");
    });
    assert_eq!(
        call(&auth, "bAsIc dTpw").await,
        Ok(Caller::Basic { user: "u".to_owned() })
    );
    assert_eq!(call(&auth, "BEARER  token-1").await, Ok(Caller::Bearer));
}

#[actix_web::test]
async fn bearer_admits_each_live_token_and_nothing_else() {
    let auth = auth(|settings| settings.auth_bearer = secret("token-1\n\n  token-2  "));
    assert_eq!(bearer(&auth, "token-1").await, Ok(Caller::Bearer));
    assert_eq!(bearer(&auth, "token-2").await, Ok(Caller::Bearer));
    for wrong in ["token-", "token-11", "TOKEN-1", "token-1\ttoken-2"] {
        assert_eq!(bearer(&auth, wrong).await, Err(Refused::Rejected), "{wrong:?}");
    }
}

#[actix_web::test]
async fn call_without_fitting_credentials_has_none() {
    let auth = auth(|settings| settings.auth_bearer = secret("token-1"));
    assert_eq!(auth.admit(&HeaderMap::new(), b"").await, Err(Refused::NoCredentials));
    assert_eq!(basic(&auth, "u:p").await, Err(Refused::NoCredentials));
    assert_eq!(call(&auth, "token-1").await, Err(Refused::NoCredentials));
}

#[actix_web::test]
async fn open_door_admits_everybody() {
    assert_eq!(Auth::open().admit(&HeaderMap::new(), b"").await, Ok(Caller::Open));
    assert!(auth(|settings| settings.auth_basic = secret("")).is_open());
}

#[actix_web::test]
async fn challenge_names_the_schemes_and_nothing_else() {
    assert!(Auth::open().challenges().is_empty());
    let all = auth(|settings| {
        settings.auth_basic = secret("u:p");
        settings.auth_bearer = secret("token-1");
        settings.auth_jwt_key = secret("jwt-secret");
        settings.auth_hmac_secret = secret("hmac-secret");
    });
    let expected = [
        r#"Basic realm="rejoinder", charset="UTF-8""#,
        r#"Bearer realm="rejoinder""#,
        r#"HMAC-SHA256 realm="rejoinder""#,
    ];
    assert_eq!(all.challenges(), expected);
    let google = auth(|settings| {
        settings.auth_google_project_number = vec!["123".to_owned()];
        settings.auth_google_jwks_url = "http://127.0.0.1:1/".to_owned();
    });
    assert_eq!(google.challenges(), [r#"Bearer realm="rejoinder""#]);
}
