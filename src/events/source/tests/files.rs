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
            "unknown field `fromat`",
        ),
        (
            format!("{own}scheme.kind = \"carrier-pigeon\"\n"),
            (3, 15),
            "unknown variant `carrier-pigeon`",
        ),
        (
            format!("{own}scheme = {{ kind = \"stripe\", header = \"x\" }}\n"),
            (3, 10),
            "unknown field `header`",
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
            format!("{own}scheme.kind = \"bearer\"\nlimits.batch_items = 0\n"),
            (0, 0),
            "expected numbers from 1",
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
