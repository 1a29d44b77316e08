//! The files that come with the service.

use super::*;

#[test]
fn every_shipped_file_loads_and_names_its_variables() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/sources");
    let sources = load(&dir, clock(), &[]).unwrap();
    let missing: Vec<String> = sources
        .iter()
        .map(|source| format!("{}: {}", source.name, source.missing().join(" ")))
        .collect();
    assert_eq!(
        missing,
        [
            "cloudevents: CLOUDEVENTS_BEARER_TOKEN",
            "generic: ",
            "github: GITHUB_WEBHOOK_SECRET",
            "meta: META_APP_SECRET META_VERIFY_TOKEN",
            "msgraph: MSGRAPH_CLIENT_STATE",
            "paypal: PAYPAL_WEBHOOK_ID",
            "shopify: SHOPIFY_WEBHOOK_SECRET",
            "slack: SLACK_SIGNING_SECRET",
            "square: SQUARE_SIGNATURE_KEY SQUARE_NOTIFICATION_URL",
            "stripe: STRIPE_WEBHOOK_SECRET",
            "twilio: TWILIO_AUTH_TOKEN TWILIO_WEBHOOK_URL",
            "zoom: ZOOM_WEBHOOK_SECRET",
        ]
    );
}

#[actix_web::test]
async fn provider_is_added_by_one_file() {
    let file = r#"
priority = "high"
format = "mapped"
secret.env = "SECRET"
[scheme]
kind = "hmac"
header = "X-Acme-Signature"
prefix = "sha256="
signed = "{timestamp}.{body}"
timestamp = { header = "X-Acme-Time" }
[event]
type_prefix = "acme."
event_id = "body.uuid"
event_type = "body.kind"
timestamp = "body.at"
entity_id = "body.order.no"
user_id = "body.order.customer"
schema_version = "1"
payload = "body.order"
"#;
    let source = try_source(file, "s3cret").unwrap();
    let body = r#"{"uuid": "7c9e", "kind": "Order/Shipped", "at": "2025-06-15T12:00:00Z",
        "order": {"no": 10042, "customer": "u-17", "tracking": "1Z999"}}"#;
    let signature = format!("sha256={}", hex_mac("s3cret", &format!("{NOW}.{body}")));
    let now = NOW.to_string();
    let pairs = [("x-acme-signature", signature.as_str()), ("x-acme-time", now.as_str())];
    assert_eq!(
        verify(&source, &pairs, body.as_bytes()).await,
        Ok(Verified { secret: 0 })
    );
    let items = events(&source, &pairs, body).unwrap();
    assert_eq!(
        serde_json::to_string(items[0].as_ref().unwrap()).unwrap(),
        r#"{"source":"shop","event_id":"7c9e","event_type":"acme.order_shipped","timestamp":"2025-06-15T12:00:00Z","entity_id":"10042","user_id":"u-17","schema_version":1,"payload":{"no": 10042, "customer": "u-17", "tracking": "1Z999"}}"#
    );
}
