//! What others have recorded: known answers of each scheme, and bodies of each provider.
//!
//! The directory that holds them is named by REJOINDER_RECORDED.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::super::paypal::{Transmission, proves};
use super::*;
use crate::config;

const FORM: &str = "application/x-www-form-urlencoded";

fn recorded(place: &str) -> PathBuf {
    let dir = config::variable("REJOINDER_RECORDED").expect("REJOINDER_RECORDED names a directory");
    Path::new(&dir).join(place)
}

/// Name, text and JSON of each file in a directory.
fn bodies(provider: &str) -> Vec<(String, String, Value)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(recorded(provider))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), text, json)
    };
    paths.into_iter().map(read).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[actix_web::test]
#[ignore = "needs what others have recorded"]
async fn known_answers_of_every_scheme_are_ours_too() {
    let vectors: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(recorded("vectors/signatures.json")).unwrap()).unwrap();
    let mut checked = 0;
    for vector in vectors.iter().filter(|vector| vector["scheme"] != "paypal") {
        let second = vector["timestamp"].as_i64().unwrap_or(NOW);
        let (timestamp, header) = (second.to_string(), text(vector, "header"));
        let mut body = text(vector, "body").to_owned();
        let (mut kind, mut query) = ("", "");
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        match text(vector, "scheme") {
            "standard-webhooks" => pairs.extend([
                ("webhook-id", text(vector, "id")),
                ("webhook-timestamp", timestamp.as_str()),
                ("webhook-signature", header),
            ]),
            "square" => pairs.push(("x-square-hmacsha256-signature", header)),
            "slack" => pairs.extend([
                ("x-slack-request-timestamp", timestamp.as_str()),
                ("x-slack-signature", header),
            ]),
            "github" => pairs.push(("x-hub-signature-256", header)),
            "stripe" => pairs.push(("stripe-signature", header)),
            "shopify" => pairs.push(("x-shopify-hmac-sha256", header)),
            "twilio" => {
                pairs.push(("x-twilio-signature", header));
                query = text(vector, "url").split_once('?').unwrap().1;
                kind = "application/json";
                let mut form = Serializer::new(String::new());
                for (name, value) in vector["params"].as_object().into_iter().flatten() {
                    form.append_pair(name, value.as_str().unwrap());
                }
                for pair in vector["params_list"].as_array().into_iter().flatten() {
                    form.append_pair(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
                }
                let form = form.finish();
                if !form.is_empty() {
                    (kind, body) = (FORM, form);
                }
            }
            other => panic!("unknown scheme {other}"),
        }
        pairs.push(("content-type", kind));
        let scheme = match text(vector, "scheme") {
            scheme @ ("square" | "twilio") => format!("{{ kind = \"{scheme}\", url_env = \"URL\" }}"),
            scheme => format!("{{ kind = \"{scheme}\" }}"),
        };
        let dir = tempfile::tempdir().unwrap();
        let file = format!("format = \"envelope\"\nsecret.env = \"SECRET\"\nscheme = {scheme}\n");
        fs::write(dir.path().join("shop.toml"), file).unwrap();
        let variables = [("SECRET", text(vector, "secret")), ("URL", text(vector, "url"))];
        let sources = load(dir.path(), clock_at(second), &variables).unwrap();
        let found = verify_at(sources.get("shop").unwrap(), query, &pairs, body.as_bytes()).await;
        assert_eq!(found.is_ok(), vector["valid"] == true, "{vector}: {found:?}");
        checked += 1;
    }
    println!("{checked} known answers");
}

#[test]
#[ignore = "needs what others have recorded"]
fn recorded_signature_of_paypal_is_proven() {
    let vectors: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(recorded("vectors/signatures.json")).unwrap()).unwrap();
    let vector = vectors.iter().find(|vector| vector["scheme"] == "paypal").unwrap();
    let header = |name| text(&vector["headers"], name);
    let transmission = Transmission {
        id: header("Paypal-Transmission-Id"),
        time: header("Paypal-Transmission-Time"),
        signature: STANDARD.decode(header("Paypal-Transmission-Sig")).unwrap(),
        cert_url: "",
        algorithm: header("Paypal-Auth-Algo"),
    };
    let message = transmission.signed_for(text(vector, "webhook_id"), text(vector, "body").as_bytes());
    assert_eq!(message, text(vector, "signed_string"));
    let pem = fs::read(recorded("vectors").join(text(vector, "cert"))).unwrap();
    let der = <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap();
    let certificate = webpki::EndEntityCert::try_from(&der).unwrap();
    assert!(proves(&certificate, message.as_bytes(), &transmission.signature));
    assert!(!proves(&certificate, b"another", &transmission.signature));
}

#[test]
#[ignore = "needs what others have recorded"]
fn examples_of_the_cloudevents_binding_are_taken_in() {
    let feature = fs::read_to_string(recorded("vectors/cloudevents-http-protocol-binding.feature")).unwrap();
    let source = try_source(
        "format = \"cloudevents\"\nsecret.env = \"SECRET\"\nscheme.kind = \"bearer\"\n",
        "s3cret",
    )
    .unwrap();
    let mut checked = 0;
    for scenario in feature.split("Scenario Outline:").skip(1) {
        let request = scenario.split("\"\"\"").nth(1).unwrap();
        let examples = scenario
            .split("Examples:")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|').map(str::trim));
        for content_type in examples.filter(|cell| *cell != "contentType") {
            let lines: Vec<&str> = request.lines().skip(1).map(str::trim).collect();
            let end = lines.iter().position(|line| line.is_empty()).unwrap();
            let mut pairs: Vec<(&str, &str)> = lines[1..end]
                .iter()
                .map(|line| line.split_once(": ").unwrap())
                .collect();
            pairs
                .iter_mut()
                .filter(|(_, value)| *value == "<contentType>")
                .for_each(|pair| pair.1 = content_type);
            let body = lines[end + 1..].join("\n");
            let items = events(&source, &pairs, &body).unwrap();
            let event = items[0].as_ref().unwrap();
            let attributes = (
                event.event_id.as_str(),
                event.event_type.as_str(),
                event.timestamp.to_rfc3339(),
            );
            let expected = (
                "/mycontext/subcontext#1234-1234-1234",
                "com.example.someevent",
                "2018-04-05T03:56:24+00:00".to_owned(),
            );
            assert_eq!(attributes, expected, "{content_type}");
            let data: Value = serde_json::from_str(event.payload.get()).unwrap();
            assert_eq!(data, serde_json::json!({"message": "Hello World!"}));
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

/// The shipped sources, all with the secret `s3cret`.
fn shipped() -> Sources {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/sources");
    let variable = |name: &str| match name {
        name if name.ends_with("_FILE") => None,
        "GENERIC_WEBHOOK_SECRET" => Some(STANDARD.encode([1; 32])),
        "SQUARE_NOTIFICATION_URL" => Some("https://bot.example/events/square".to_owned()),
        _ => Some("s3cret".to_owned()),
    };
    let surroundings = Surroundings {
        variable: Arc::new(variable),
        ..surroundings(clock(), &[])
    };
    let (sources, errors) = Sources::load(&dir, &surroundings, None);
    assert_eq!(errors, []);
    sources
}

/// Signs a body as its provider does and takes it in, and says what was made of it.
async fn taken_in(source: &Source, pairs: &[(&str, &str)], body: &str) -> Result<String, String> {
    verify(source, pairs, body.as_bytes())
        .await
        .map_err(|refused| refused.to_string())?;
    let items = events(source, pairs, body).map_err(|not| not.to_string())?;
    let [Ok(event)] = items.as_slice() else {
        return Err(format!("{items:?}"));
    };
    Ok(format!("{} of {}", event.event_type, event.entity_id))
}

#[actix_web::test]
#[ignore = "needs what others have recorded"]
async fn every_recorded_body_is_signed_and_taken_in_by_its_source() {
    let sources = shipped();
    let source = |name: &str| Arc::clone(sources.get(name).unwrap());
    let mut refused = Vec::new();
    let mut count = 0;
    let mut note = |provider: &str, name: &str, found: Result<String, String>| {
        count += 1;
        match found {
            Ok(made) => println!("{provider}: {name}: {made}"),
            Err(why) => refused.push(format!("{provider}: {name}: {why}")),
        }
    };
    let now = NOW.to_string();
    for (name, body, _) in bodies("stripe") {
        let signature = format!("t={NOW},v1={}", hex_mac("s3cret", &format!("{NOW}.{body}")));
        let pairs = [
            ("stripe-signature", signature.as_str()),
            ("content-type", "application/json"),
        ];
        note("stripe", &name, taken_in(&source("stripe"), &pairs, &body).await);
    }
    for (name, body, json) in bodies("github") {
        let signature = format!("sha256={}", hex_mac("s3cret", &body));
        let stem = name.split("--").next().unwrap();
        let action = format!("-{}", text(&json, "action").replace('_', "-"));
        let event = stem.strip_suffix(&action).unwrap_or(stem).replace('-', "_");
        let pairs = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", event.as_str()),
            ("x-github-delivery", name.as_str()),
        ];
        note("github", &name, taken_in(&source("github"), &pairs, &body).await);
    }
    for (name, body, _) in bodies("shopify") {
        let signature = base64_mac("s3cret", &body);
        let topic = format!("{}/update", name.split("--").next().unwrap());
        let pairs = [
            ("x-shopify-hmac-sha256", signature.as_str()),
            ("x-shopify-topic", topic.as_str()),
            ("x-shopify-webhook-id", name.as_str()),
            ("x-shopify-shop-domain", "shop.example"),
        ];
        note("shopify", &name, taken_in(&source("shopify"), &pairs, &body).await);
    }
    for (name, body, json) in bodies("slack") {
        let is_event = json.get("event").is_some() || json["type"] == "url_verification";
        let (kind, body) = match is_event {
            true => ("application/json", body),
            false => (
                FORM,
                Serializer::new(String::new()).append_pair("payload", &body).finish(),
            ),
        };
        let signature = format!("v0={}", hex_mac("s3cret", &format!("v0:{NOW}:{body}")));
        let pairs = [
            ("x-slack-signature", signature.as_str()),
            ("x-slack-request-timestamp", now.as_str()),
            ("content-type", kind),
        ];
        if json["type"] == "url_verification" {
            let answer = ask(&source("slack"), "POST", "", &pairs, body.as_bytes()).await;
            assert_eq!(answer.unwrap().unwrap().body, text(&json, "challenge"));
            continue;
        }
        note("slack", &name, taken_in(&source("slack"), &pairs, &body).await);
    }
    for (name, body, _) in bodies("square") {
        let signature = base64_mac("s3cret", &format!("https://bot.example/events/square{body}"));
        let pairs = [("x-square-hmacsha256-signature", signature.as_str())];
        note("square", &name, taken_in(&source("square"), &pairs, &body).await);
    }
    let signer = paypal::signer(paypal::NAME);
    let server = paypal::serving(&signer.pem).await;
    let check = paypal::paypal(&signer.root);
    for (name, body, json) in bodies("paypal") {
        let signed = signer.headers(&server.uri(), "NEW-ID", body.as_bytes());
        assert_eq!(
            paypal::check(&check, &signed, body.as_bytes(), NOW).await,
            Ok(0),
            "{name}"
        );
        let items = events(&source("paypal"), &[], &body).unwrap();
        // One of the files is the description of an event, and no event.
        match (&items[0], json["id"].is_string()) {
            (Ok(event), true) => note("paypal", &name, Ok(event.event_type.to_string())),
            (Err(bad), false) => assert_eq!(bad.field, "event_type"),
            (found, _) => note("paypal", &name, Err(format!("{found:?}"))),
        }
    }
    for (name, body, json) in bodies("cloudevents") {
        let pairs = [
            ("authorization", "Bearer s3cret"),
            ("content-type", "application/cloudevents+json"),
        ];
        let found = taken_in(&source("cloudevents"), &pairs, &body).await;
        // Some are of other versions, and some are parts of events.
        let digits = text(&json, "data_base64");
        let is_event = json["specversion"] == "1.0" && json["id"].is_string() && STANDARD.decode(digits).is_ok();
        match (&found, is_event) {
            (Err(_), false) => println!("cloudevents: {name}: {found:?}"),
            (Ok(_), false) => note("cloudevents", &name, Err("is no event".to_owned())),
            (_, true) => note("cloudevents", &name, found),
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    println!("{count} bodies taken in");
}
