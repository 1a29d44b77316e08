//! `rejoinder agent`: agents that fit the bot, those that do not, and the file that Dialogflow imports.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;
use zip::ZipArchive;

use crate::events::command::{Ran, ran};
use crate::serve::rejoinder;

/// The sources of the sample agents.
fn sample(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("agents").join(kind)
}

fn run(arguments: &[&str]) -> Ran {
    let mut command = rejoinder();
    command.arg("agent").args(arguments);
    ran(command)
}

fn check(es: &Path, cx: &Path, more: &[&str]) -> Ran {
    let dirs = ["check", es.to_str().unwrap(), cx.to_str().unwrap()];
    run(&[&dirs, more].concat())
}

/// All files below a directory, by their paths in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A copy of a sample agent, in which `from` has become `to` in one file.
fn changed(kind: &str, file: &str, from: &str, to: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, content) in files(&sample(kind)) {
        let target = copy.path().join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    }
    let file = copy.path().join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{} has no {from}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
    copy
}

#[test]
fn sample_agents_fit_the_demo_bot() {
    let checked = check(&sample("es"), &sample("cx"), &[]);
    assert_eq!((checked.code, &*checked.err), (0, ""), "{}", checked.out);
    assert!(checked.out.ends_with("handlers fit each other\n"), "{}", checked.out);
    let es = run(&["check", sample("es").to_str().unwrap()]);
    assert_eq!(es.code, 0, "{}", es.out);
    // There the order's status has a tag of its own.
    let cx = run(&["check", sample("cx").to_str().unwrap()]);
    let misfit = format!(
        "{}: found nothing that calls the handler of the intent \"Order Status\", expected a call",
        sample("cx").display()
    );
    assert!(
        cx.code == 1 && cx.out.starts_with(&misfit) && cx.out.ends_with(": 1 do not fit\n"),
        "{}",
        cx.out
    );
}

#[rstest]
#[case::name(
    "es",
    "intents/Order Status.json",
    "\"name\": \"Order Status\"",
    "\"name\": \"Order Statis\"",
    &["intents/Order Status.json: found a call of the webhook for \"Order Statis\"", "(did you mean Order Status?)"]
)]
#[case::called_by_the_other_agent(
    "es",
    "intents/Quiet Hours.json",
    "\"webhookUsed\": true",
    "\"webhookUsed\": false",
    &[]
)]
#[case::parameter(
    "es",
    "intents/Order Status.json",
    "\"name\": \"order_number\"",
    "\"name\": \"orderNumber\"",
    &["intents/Order Status.json: found the parameter \"orderNumber\" of \"Order Status\", expected \"order_number\""]
)]
#[case::webhook_off(
    "es",
    "agent.json",
    "\"available\": true",
    "\"available\": false",
    &["agent.json: found a webhook that is off (webhook.available), expected one that is on: 16 intents call it"]
)]
#[case::tag(
    "cx",
    "flows/Default Start Flow/pages/Order Status answer.json",
    "order-status",
    "order_statuses",
    &["pages/Order Status answer.json: found a call of the webhook for \"order_statuses\"", "(did you mean order-status?)",
      "found nothing that calls the handler of the tag \"order-status\""]
)]
fn agent_that_does_not_fit_is_told_of(
    #[case] kind: &str,
    #[case] file: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] said: &[&str],
) {
    let agent = changed(kind, file, from, to);
    let (es, cx) = match kind {
        "es" => (agent.path().to_owned(), sample("cx")),
        _ => (sample("es"), agent.path().to_owned()),
    };
    let checked = check(&es, &cx, &[]);
    assert_eq!(checked.code, i32::from(!said.is_empty()), "{checked:?}");
    for said in said {
        assert!(checked.out.contains(said), "{}", checked.out);
    }
    let listed = check(&es, &cx, &["--json"]);
    let misfits: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(misfits.as_array().unwrap().is_empty(), said.is_empty());
}

#[test]
fn handler_that_one_agent_alone_does_not_call_is_told_of() {
    let agent = changed(
        "es",
        "intents/Quiet Hours.json",
        "\"webhookUsed\": true",
        "\"webhookUsed\": false",
    );
    let checked = run(&["check", agent.path().to_str().unwrap()]);
    assert_eq!(checked.code, 1);
    assert!(
        checked
            .out
            .contains("intents/Quiet Hours.json: found an intent that does not call the webhook (webhookUsed)"),
        "{}",
        checked.out
    );
}

#[rstest]
#[case::no_json("agent.json", "\"language\"", "language", "agent.json:3:3:", "key must be a string")]
#[case::neither(
    "agent.json",
    "\"language\"",
    "\"tongue\"",
    "agent.json:",
    "a defaultLanguageCode (CX)"
)]
#[case::intent(
    "intents/Quiet Hours.json",
    "\"name\": \"Quiet Hours\",",
    "",
    "intents/Quiet Hours.json:",
    "missing field `name`"
)]
fn agent_that_cannot_be_read_is_told_with_file_and_place(
    #[case] file: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] place: &str,
    #[case] said: &str,
) {
    let agent = changed("es", file, from, to);
    let checked = run(&["check", agent.path().to_str().unwrap()]);
    assert_eq!((checked.code, &*checked.out), (2, ""));
    assert!(
        checked.err.contains(place) && checked.err.contains(said),
        "{}",
        checked.err
    );
}

#[test]
fn directory_of_no_agent_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let dir = empty.path().to_str().unwrap();
    let file = empty.path().join("agent.zip");
    for arguments in [vec!["check", dir], vec!["pack", dir, file.to_str().unwrap()]] {
        let refused = run(&arguments);
        assert_eq!(refused.code, 2);
        let said = format!("rejoinder: {dir}: found no agent.json, expected the directory that an agent's export");
        assert!(refused.err.starts_with(&said), "{}", refused.err);
    }
    assert!(!file.exists());
}

#[rstest]
fn package_holds_the_sources_and_is_the_same_each_time(#[values("es", "cx")] kind: &str) {
    // With what lies about in a directory that people work in.
    let agent = changed(kind, "agent.json", "{", "{");
    let sources = files(agent.path());
    for (stray, content) in [("README.md", "how to"), (".hidden.json", "{"), ("old.zip", "PK")] {
        fs::write(agent.path().join(stray), content).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let pack = |name: &str| {
        let file = out.path().join(name);
        let packed = run(&["pack", agent.path().to_str().unwrap(), file.to_str().unwrap()]);
        assert_eq!((packed.code, &*packed.err), (0, ""));
        assert!(
            packed.out.contains(&format!("{} files", sources.len())),
            "{}",
            packed.out
        );
        fs::read(file).unwrap()
    };
    let bytes = pack("one.zip");
    assert_eq!(pack("two.zip"), bytes);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut held = BTreeMap::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        let name = PathBuf::from(&*file.name().unwrap());
        held.insert(name, content);
    }
    assert_eq!(held, sources);
}

#[test]
fn package_with_a_file_that_is_no_json_is_not_written() {
    let agent = changed("es", "intents/Order Status.json", "}", "");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("agent.zip");
    let packed = run(&["pack", agent.path().to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(packed.code, 2);
    assert!(packed.err.contains("intents/Order Status.json:"), "{}", packed.err);
    assert!(!file.exists());
}
