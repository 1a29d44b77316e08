//! A wrong file is told with its place.

use super::*;

#[test]
fn error_of_a_file_says_where_and_what_is_expected() {
    let event = "[event]\nevent_id = \"body.id\"\nevent_type = \"body.type\"\nentity_id = \"body.id\"\n";
    let mapped = "format = \"mapped\"\nsecret.env = \"SECRET\"\nscheme.kind = \"bearer\"\n";
    let own = "format = \"envelope\"\nsecret.env = \"SECRET\"\n";
    let hmac = "scheme = { kind = \"hmac\", header = \"x-sign\", signed = ";
    let cases = [
        (
            format!("{own}scheme.kind = \"bearer\"\nfromat = 1\n"),
            (4, 1),
            "found the key fromat, expected one of priority, types, format",
        ),
        (
            format!("{own}scheme.kind = \"carrier-pigeon\"\n"),
            (3, 15),
            "found carrier-pigeon, expected one of",
        ),
        (
            format!("{own}scheme = {{ kind = \"stripe\", header = \"x\" }}\n"),
            (3, 10),
            "found the key header",
        ),
        (
            format!("{own}{hmac}\"{{timestamp}}\" }}\n"),
            (3, 10),
            "expected {body} in it",
        ),
        (
            format!("{own}{hmac}\"{{timestamp}}{{body}}\" }}\n"),
            (3, 10),
            "expected {timestamp} in it just when",
        ),
        (format!("{own}{hmac}\"{{body\" }}\n"), (3, 10), "a closing brace"),
        (
            format!("{own}{hmac}\"{{x y}}{{body}}\" }}\n"),
            (3, 10),
            "the name of a header",
        ),
        (
            format!("{own}scheme.kind = \"bearer\"\n{event}"),
            (0, 0),
            "only where format is \"mapped\"",
        ),
        (
            format!("{own}scheme.kind = \"bearer\"\nlimits.body_bytes = \"1MB\"\n"),
            (4, 21),
            "found the text \"1MB\", expected a whole number",
        ),
        (
            format!("{mapped}{event}timestamp = \"{{{{ body.at }}}}\"\n"),
            (8, 14),
            "timestamp: found braces, expected an expression without them",
        ),
        (
            format!("{own}scheme.kind = \"bearer\"\nlimits.batch_items = 0\n"),
            (4, 22),
            "limits.batch_items: found 0, expected a whole number from 1",
        ),
        (mapped.to_owned(), (0, 0), "event: found nothing"),
        (
            "format = \"envelope\"\nscheme = { kind = \"bearer\" }\n".to_owned(),
            (2, 10),
            "the name of a variable",
        ),
        (
            format!("{mapped}{event}timestamp = \"body.\"\n"),
            (8, 18),
            "timestamp: ",
        ),
        (
            format!("{mapped}{event}timestamp = \"bdoy.created\"\n"),
            (8, 14),
            "found `bdoy`, expected one of body",
        ),
        (
            format!("{mapped}{event}payload = \"bdoy.data\"\n"),
            (8, 11),
            "expected a path such as",
        ),
        (
            format!("{own}scheme = {{ kind = \"jwt\", issuer = [], audience = [], jwks_url = \"http://x\" }}\n"),
            (2, 14),
            "expected no variable beside jwks_url",
        ),
    ];
    let mut wrong = Vec::new();
    for (file, place, message) in cases {
        let error = try_source(&file, "s3cret").unwrap_err();
        if !error.message.contains(message) || (error.line, error.column) != place {
            wrong.push(format!("{error}\nexpected {place:?} {message}\n{file}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types_of_a_file_are_patterns_and_its_own() {
    let mapped = |types: &str| {
        format!(
            "format = 'mapped'\ntypes = {types}\nsecret.env = 'SECRET'\nscheme.kind = 'bearer'\n[event]\n\
             type_prefix = 'acme.'\nevent_id = 'body.id'\nevent_type = 'body.type'\nentity_id = 'body.id'\n"
        )
    };
    for (types, column, message) in [
        ("[]", 9, "types: found none"),
        (
            "['acme.*', 'Acme.X']",
            20,
            "types: found \"Acme.X\", expected lower-case words",
        ),
        (
            "['order.*']",
            10,
            "types: found \"order.*\", expected what begins with the type_prefix acme.",
        ),
    ] {
        let error = try_source(&mapped(types), "s3cret").unwrap_err();
        assert!(error.message.starts_with(message), "{error}");
        assert_eq!((error.line, error.column), (2, column), "{error}");
    }
    assert!(try_source(&mapped("['acme.order.*', 'acme.cart']"), "s3cret").is_ok());
}

#[test]
fn types_of_a_provider_are_its_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let acme = "format = 'mapped'\nsecret.env = 'SECRET'\nscheme.kind = 'bearer'\n[event]\ntype_prefix = 'acme.'\n\
                event_id = 'body.id'\nevent_type = 'body.type'\nentity_id = 'body.id'\n";
    let own = |types: &str| format!("format = 'envelope'\n{types}secret.env = 'SECRET'\nscheme.kind = 'bearer'\n");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("acme.toml", acme);
    write("all.toml", &own(""));
    write("orders.toml", &own("types = ['order.*']\n"));
    let sources = load(dir.path(), clock(), &[("SECRET", "s3cret")]).unwrap();
    let forbidden = |name: &str, event_type: &str| {
        let violation = sources.forbids(sources.get(name).unwrap(), event_type);
        violation.map(|violation| violation.message)
    };
    for (name, event_type) in [("acme", "acme.paid"), ("all", "order.paid"), ("orders", "order.paid")] {
        assert_eq!(forbidden(name, event_type), None, "{name} {event_type}");
    }
    assert!(forbidden("all", "acme.paid").unwrap().contains("begin with acme."));
    assert!(
        forbidden("orders", "payment.failed")
            .unwrap()
            .contains("may send: order.*")
    );

    write("all.toml", &own("types = ['order.*', 'acme.paid']\n"));
    let errors = load(dir.path(), clock(), &[("SECRET", "s3cret")]).unwrap_err();
    let told = "types: found \"acme.paid\", expected no types of another source: those are acme.toml's";
    assert_eq!(
        (errors[0].line, errors[0].column, errors[0].message.as_str()),
        (2, 21, told)
    );
}

#[test]
fn id_that_is_read_from_an_unsigned_header_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let warnings = |scheme: &str, id: &str| {
        let text = format!(
            "format = 'mapped'\nsecret.env = 'SECRET'\nscheme = {scheme}\n[event]\nevent_id = \"{id}\"\n\
             event_type = 'body.type'\nentity_id = 'body.id'\n"
        );
        std::fs::write(dir.path().join("shop.toml"), text).unwrap();
        let (_, errors) = Sources::load(dir.path(), &surroundings(clock(), &[("SECRET", "s3cret")]), None);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of_body = "{ kind = 'hmac', header = 'x-sign', signed = '{body}' }";
    let of_id = "{ kind = 'hmac', header = 'x-sign', signed = '{X-Id}.{body}' }";
    let warned = warnings(of_body, "body.id or headers['x-id']");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("shop.toml:5:33: warning: event_id: found the header x-id, which is not signed"),
        "{warned:?}"
    );
    assert_eq!(warnings(of_id, "headers['x-id']"), [""; 0]);
    assert_eq!(warnings("{ kind = 'bearer' }", "headers['x-id']"), [""; 0]);
    assert_eq!(warnings(of_body, "body.headers['x-id'] or sha256"), [""; 0]);
}

#[test]
fn all_wrong_files_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.toml", "b.toml", "Shop.toml", "rejoinder.toml"] {
        std::fs::write(dir.path().join(name), "format = 1").unwrap();
    }
    let errors = load(dir.path(), clock(), &[]).unwrap_err();
    assert_eq!(errors.len(), 4);
}

#[test]
fn secrets_stand_in_no_debug_text() {
    let source = source(r#"{ kind = "bearer" }"#, "hunter2hunter2");
    assert!(!format!("{source:?}").contains("hunter2"));
}
