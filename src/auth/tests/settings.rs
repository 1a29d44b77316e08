//! Wrong settings stop the start; no setting shows a secret.

use std::fs;

use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    auth: AuthSettings,
}

fn error(set: impl FnOnce(&mut AuthSettings)) -> String {
    try_auth(&clock(), set).unwrap_err().to_string()
}

#[actix_web::test]
async fn wrong_secret_names_the_setting_and_what_is_expected() {
    assert_eq!(
        error(|settings| settings.auth_basic = secret("user:hunter2\nhunter2")),
        "AUTH_BASIC: line 2 has no colon; expected `user:password`, one a line"
    );
    assert_eq!(
        error(|settings| settings.auth_bearer = secret("hunter 2")),
        "AUTH_BEARER: line 1 holds a space or a character that is not visible ASCII; \
         expected opaque tokens of visible ASCII characters, one a line"
    );
}

#[rstest]
#[case::cut_off(|| RSA.public_pem.replace("-----END PUBLIC KEY-----", ""), "has no end")]
#[case::beheaded(|| RSA.public_pem.replace("-----BEGIN PUBLIC KEY-----\n", ""), "looks like a part of a PEM key")]
#[case::bare(|| RSA.public_pem.lines().filter(|line| !line.contains('-')).collect(), "looks like a part of a PEM key")]
#[case::private(|| RSA.private_pem.clone(), "is a private key")]
#[case::private_ec(|| EC.private_pem.clone(), "is a private key")]
#[case::certificate(|| pem("CERTIFICATE", b"0"), "is a certificate")]
#[case::not_a_key(|| pem("PUBLIC KEY", b"hunter2 hunter2"), "is neither an RSA nor a P-256 public key")]
#[case::jwk(|| RSA.jwk().to_string(), "looks like JSON")]
#[actix_web::test]
async fn wrong_key_says_why(#[case] key: fn() -> String, #[case] why: &str) {
    let error = error(|settings| settings.auth_jwt_key = secret(&key()));
    assert!(error.starts_with("AUTH_JWT_KEY: ") && error.contains(why), "{error}");
    assert!(!error.contains("MII") && !error.contains("hunter2"), "{error}");
}

#[actix_web::test]
async fn rsa_key_of_1024_bits_is_refused() {
    // RSAPublicKey: a sequence of a modulus of 1024 bits and the exponent 65537.
    let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    der.extend([0xc5; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let error = error(|settings| settings.auth_jwt_key = secret(&pem("RSA PUBLIC KEY", &der)));
    assert!(error.contains("less than 2048"), "{error}");
}

#[actix_web::test]
async fn missing_or_empty_file_names_setting_path_and_what_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hmac");
    let set = |settings: &mut AuthSettings| settings.auth_hmac_secret_file = Some(path.clone());
    let missing = error(set);
    assert!(missing.starts_with("AUTH_HMAC_SECRET_FILE: "), "{missing}");
    for part in [path.to_str().unwrap(), "No such file", "one a line"] {
        assert!(missing.contains(part), "{missing}");
    }
    fs::write(&path, "\n").unwrap();
    assert!(error(set).contains("holds none"));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(error(set).contains("not UTF-8"));
    fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(error(set).contains("longer than 65536 bytes"));
}

#[actix_web::test]
async fn settings_that_contradict_each_other_are_refused() {
    let url = "https://issuer.example/jwks?key=hunter2";
    let both = error(|settings| {
        settings.auth_jwt_key = secret("hunter2");
        settings.auth_jwt_jwks_url = Some(url.to_owned());
    });
    assert!(
        both.starts_with("AUTH_JWT_JWKS_URL: https://issuer.example/jwks is set beside AUTH_JWT_KEY"),
        "{both}"
    );
    assert!(!both.contains("hunter2"));
    let list = || vec!["value-1".to_owned()];
    let issuer = error(|settings| settings.auth_jwt_issuer = list());
    let audience = error(|settings| settings.auth_jwt_audience = list());
    let scopes = error(|settings| settings.auth_jwt_scopes = Some("value-1".to_owned()));
    let google = error(|settings| settings.auth_google_audience = list());
    for (setting, error) in [
        ("AUTH_JWT_ISSUER", issuer),
        ("AUTH_JWT_AUDIENCE", audience),
        ("AUTH_JWT_SCOPES", scopes),
        ("AUTH_GOOGLE_AUDIENCE", google),
    ] {
        assert!(
            error.starts_with(&format!("{setting}: [\"value-1\"] is set without")),
            "{error}"
        );
    }
    let id = error(|settings| settings.auth_google_project_number = vec!["my-project".to_owned()]);
    assert!(
        id.starts_with("AUTH_GOOGLE_PROJECT_NUMBER: \"my-project\" is not a number"),
        "{id}"
    );
}

#[rstest]
#[case("issuer.example/jwks", "is not a URL")]
#[case("ftp://issuer.example/jwks", "scheme \"ftp\"")]
#[case("https://user:hunter2@issuer.example/jwks", "holds a user or a password")]
#[case("https://user:hunter2@issuer .example/jwks", "is not a URL")]
#[actix_web::test]
async fn wrong_key_url_is_refused(#[case] url: &str, #[case] why: &str) {
    let error = error(|settings| settings.auth_jwt_jwks_url = Some(url.to_owned()));
    assert!(
        error.starts_with("AUTH_JWT_JWKS_URL: ") && error.contains(why),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[rstest]
#[case("http://issuer.example", "is plain http; expected an https URL, or http on loopback")]
#[case("https://issuer.example/?tenant=hunter2", "has a query or a fragment")]
#[case("https://user:hunter2@issuer.example", "holds a user or a password")]
#[case("issuer.example", "is not a URL")]
#[actix_web::test]
async fn wrong_issuer_is_refused(#[case] issuer: &str, #[case] why: &str) {
    let error = error(|settings| settings.auth_oauth_issuer = Some(issuer.to_owned()));
    assert!(
        error.starts_with("AUTH_OAUTH_ISSUER: ") && error.contains(why),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[actix_web::test]
async fn issuer_says_itself_whose_its_keys_are_and_a_client_is_whole() {
    type Set = fn(&mut AuthSettings);
    let url = || Some("https://issuer.example".to_owned());
    let others: [Set; 3] = [
        |settings| settings.auth_jwt_key = secret("hunter2"),
        |settings| settings.auth_jwt_jwks_url = Some("https://issuer.example/keys".to_owned()),
        |settings| settings.auth_jwt_issuer = vec!["https://issuer.example".to_owned()],
    ];
    for other in others {
        let error = error(|settings| {
            settings.auth_oauth_issuer = url();
            other(settings);
        });
        let told = "AUTH_OAUTH_ISSUER: https://issuer.example is set beside AUTH_JWT_";
        assert!(error.starts_with(told), "{error}");
    }
    let parts: [(&str, Set); 3] = [
        ("AUTH_OAUTH_CLIENT_ID", |settings| {
            settings.auth_oauth_client_id = Some("rejoinder".to_owned());
        }),
        ("AUTH_OAUTH_CLIENT_SECRET", |settings| {
            settings.auth_oauth_client_secret = secret("hunter2");
        }),
        ("AUTH_OAUTH_INTROSPECTION_URL", |settings| {
            settings.auth_oauth_introspection_url = Some("https://issuer.example/ask".to_owned());
        }),
    ];
    for (name, part) in parts {
        let error = error(part);
        assert!(error.starts_with(&format!("{name}: is set without all")), "{error}");
    }
    let whole = try_auth(&clock(), |settings| parts.iter().for_each(|(_, part)| part(settings)));
    assert_eq!(whole.unwrap().challenges().len(), 1);
}

#[actix_web::test]
async fn empty_values_count_as_not_set() {
    let flags = [
        "basic",
        "basic-file",
        "bearer",
        "bearer-file",
        "jwt-key",
        "jwt-key-file",
        "jwt-jwks-url",
        "oauth-issuer",
        "oauth-introspection-url",
        "oauth-client-id",
        "oauth-client-secret",
        "oauth-client-secret-file",
        "jwt-issuer",
        "jwt-audience",
        "jwt-scopes",
        "google-project-number",
        "google-jwks-url",
        "google-audience",
        "hmac-secret",
        "hmac-secret-file",
    ];
    let arguments = flags.iter().map(|flag| format!("--auth-{flag}="));
    let command = Command::try_parse_from(std::iter::once("rejoinder".to_owned()).chain(arguments)).unwrap();
    let auth = Auth::new(
        &command.auth,
        Exposure::Loopback,
        clock(),
        reqwest::Client::builder().build().unwrap(),
    )
    .unwrap();
    assert!(auth.is_open());
}

#[actix_web::test]
async fn nothing_shows_a_secret() {
    let arguments = [
        "rejoinder",
        "--auth-basic=user:hunter2",
        "--auth-bearer=hunter2",
        "--auth-jwt-key=hunter2",
        "--auth-hmac-secret=hunter2",
        "--auth-oauth-client-id=rejoinder",
        "--auth-oauth-client-secret=hunter2",
        "--auth-google-project-number=1,2",
    ];
    let command = Command::try_parse_from(arguments).unwrap();
    assert_eq!(command.auth.auth_google_project_number, ["1", "2"]);
    let auth = try_auth(&clock(), |settings| {
        *settings = command.auth.clone();
        settings.auth_google_jwks_url = "http://127.0.0.1:1/?key=hunter2".to_owned();
        settings.auth_oauth_introspection_url = Some("http://127.0.0.1:1/?key=hunter2".to_owned());
    })
    .unwrap();
    for shown in [
        format!("{command:?}"),
        format!("{auth:#?}"),
        format!("{:?}", auth.challenges()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn reasons_of_a_refusal_hold_no_credentials() {
    let auth = auth(|settings| {
        settings.auth_basic = secret("user:hunter2");
        settings.auth_jwt_key = secret("hunter2 hunter2 hunter2 hunter2 hunter2");
    });
    let expired = hs256(
        b"hunter2 hunter2 hunter2 hunter2 hunter2",
        &claims(json!({"exp": NOW - 100})),
    );
    let reasons = async |authorization: String| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        auth.judge(&headers, b"").await.unwrap_err().reasons
    };
    assert_eq!(reasons(format!("Bearer {expired}")).await, "jwt: expired 100 s ago");
    let pair = STANDARD.encode("user:swordfish");
    assert_eq!(
        reasons(format!("Basic {pair}")).await,
        "basic: not one of the live secrets"
    );
    assert_eq!(
        reasons("Digest x".to_owned()).await,
        "no credentials of a configured method"
    );
}
