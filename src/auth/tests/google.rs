//! Google's service identity token.

use rstest::rstest;

use super::*;

const EMAIL: &str = "service-123456789012@gcp-sa-dialogflow.iam.gserviceaccount.com";

fn identity(more: Value) -> Value {
    let mut identity = claims(json!({
        "iss": "https://accounts.google.com", "aud": "https://bot.example/fulfillment",
        "email": EMAIL, "email_verified": true,
    }));
    for (name, value) in more.as_object().unwrap() {
        identity[name] = value.clone();
    }
    identity.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    identity
}

async fn admitted(claims: &Value, audiences: &[&str]) -> Result<Caller, Refused> {
    let server = server(key_set(&[&OTHER_RSA, &RSA]), key_set(&[])).await;
    let auth = auth(|settings| {
        settings.auth_google_project_number = vec!["1".to_owned(), "123456789012".to_owned()];
        settings.auth_google_audience = audiences.iter().map(|audience| audience.to_string()).collect();
        settings.auth_google_jwks_url = server.uri();
    });
    bearer(&auth, &RSA.token(claims)).await
}

#[rstest]
#[case::plain(json!({}))]
#[case::bare_issuer(json!({"iss": "accounts.google.com"}))]
#[case::expired_by_the_skew(json!({"exp": NOW - 299}))]
#[case::early_by_the_skew(json!({"iat": NOW + 300}))]
#[case::other_project(json!({"email": "service-1@gcp-sa-dialogflow.iam.gserviceaccount.com"}))]
#[case::successor_of_dialogflow(json!({"email": "service-1@gcp-sa-ces.iam.gserviceaccount.com"}))]
#[actix_web::test]
async fn agent_of_the_project_is_admitted(#[case] more: Value) {
    let identity = identity(more);
    let email = identity["email"].as_str().unwrap().to_owned();
    assert_eq!(
        admitted(&identity, &[]).await,
        Ok(Caller::Google { email: email.clone() })
    );
    let both = ["https://other.example", "https://bot.example/fulfillment"];
    assert_eq!(admitted(&identity, &both).await, Ok(Caller::Google { email }));
}

#[rstest]
#[case::other_project(json!({"email": "service-2@gcp-sa-dialogflow.iam.gserviceaccount.com"}))]
#[case::successor_in_another_project(json!({"email": "service-2@gcp-sa-ces.iam.gserviceaccount.com"}))]
#[case::other_service(json!({"email": "service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"}))]
#[case::no_email(json!({"email": null}))]
#[case::unverified(json!({"email_verified": false}))]
#[case::verified_as_text(json!({"email_verified": "true"}))]
#[case::verified_not_said(json!({"email_verified": null}))]
#[case::expired(json!({"exp": NOW - 300}))]
#[case::from_the_future(json!({"iat": NOW + 301}))]
#[case::no_begin(json!({"iat": null}))]
#[case::valid_for_25_hours(json!({"exp": NOW + 25 * 3600}))]
#[case::valid_for_a_day(json!({"exp": NOW + 24 * 3600}))]
#[case::wrong_issuer(json!({"iss": "https://issuer.example"}))]
#[case::nearly_the_issuer(json!({"iss": "https://accounts.google.com/"}))]
#[actix_web::test]
async fn other_identities_are_refused(#[case] more: Value) {
    assert_eq!(admitted(&identity(more), &[]).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn audience_is_held_to_the_list_when_there_is_one() {
    assert_eq!(
        admitted(&identity(json!({})), &["https://other.example"]).await,
        Err(Refused::Rejected)
    );
}

#[actix_web::test]
async fn identity_signed_by_somebody_else_is_refused() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let auth = auth(|settings| {
        settings.auth_google_project_number = vec!["123456789012".to_owned()];
        settings.auth_google_jwks_url = server.uri();
    });
    let forged = OTHER_RSA.token_as(Some("rsa-1"), &identity(json!({})));
    assert_eq!(bearer(&auth, &forged).await, Err(Refused::Rejected));
}

#[actix_web::test]
async fn only_rs256_proves_an_identity() {
    let server = server(key_set(&[&EC]), key_set(&[&EC])).await;
    let auth = auth(|settings| {
        settings.auth_google_project_number = vec!["123456789012".to_owned()];
        settings.auth_google_jwks_url = server.uri();
    });
    assert_eq!(
        bearer(&auth, &EC.token(&identity(json!({})))).await,
        Err(Refused::Rejected)
    );
}

#[actix_web::test]
async fn own_issuer_and_google_are_admitted_side_by_side() {
    let server = server(key_set(&[&RSA]), key_set(&[&RSA])).await;
    let auth = auth(|settings| {
        settings.auth_jwt_key = secret(&EC.public_pem);
        settings.auth_jwt_issuer = vec!["https://issuer.example".to_owned()];
        settings.auth_google_project_number = vec!["123456789012".to_owned()];
        settings.auth_google_jwks_url = server.uri();
    });
    assert_eq!(
        bearer(&auth, &RSA.token(&identity(json!({})))).await.unwrap().method(),
        "google"
    );
    assert_eq!(
        bearer(&auth, &EC.token(&claims(json!({})))).await.unwrap().method(),
        "jwt"
    );
}
