//! What the program is built from: where its dependencies come from, under which licences, and that each is used.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than to be named. One of another kind is a decision.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "PostgreSQL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(package().join(file)).unwrap()
}

fn toml(file: &str) -> toml::Table {
    read(file).parse().unwrap()
}

/// Whether one of the alternatives of an SPDX expression asks for no licence but those above. `/` stands for OR in old
/// manifests.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = either(&mut words);
    allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words) -> bool {
    let mut allowed = all(words);
    while words.next_if_eq(&"OR").is_some() {
        allowed |= all(words);
    }
    allowed
}

fn all(words: &mut Words) -> bool {
    let mut allowed = one(words);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut Words) -> bool {
    let licence = words.next().unwrap_or_default();
    if licence == "(" {
        return either(words) & words.next_if_eq(&")").is_some();
    }
    match words.next_if_eq(&"WITH") {
        Some(with) => LICENCES.contains(&format!("{licence} {with} {}", words.next().unwrap_or_default()).as_str()),
        None => LICENCES.contains(&licence),
    }
}

#[test]
fn licence_that_is_not_on_the_list_is_seen_in_any_expression() {
    for allowed in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-2.0 OR (MIT AND ISC)",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND MPL-2.0",
        "MIT WITH GCC-exception-3.1",
    ] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn every_dependency_may_be_used() {
    // Of this machine's kind: what others need besides is not there without a network.
    let cargo = env!("CARGO");
    let version = Command::new(cargo).arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let asked = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            host,
        ])
        .current_dir(package())
        .output()
        .unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or_default()))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences that nobody has decided on: {refused:#?}");
}

#[test]
fn every_dependency_comes_from_one_registry_with_a_checksum() {
    let lock = toml("Cargo.lock");
    let text = |package: &toml::Value, key| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let packages = lock["package"].as_array().unwrap().iter();
    let dependencies = packages.filter(|package| text(package, "name").as_deref() != Some(env!("CARGO_PKG_NAME")));
    let mut sources = BTreeSet::new();
    for package in dependencies {
        assert!(text(package, "checksum").is_some(), "found no checksum: {package:?}");
        sources.insert(text(package, "source").unwrap());
    }
    assert!(
        sources.len() == 1 && sources.iter().all(|source| source.starts_with("registry+https://")),
        "{sources:?}"
    );
}

/// All `.rs` files below a directory, one after the other.
fn sources(dir: &str) -> String {
    let mut text = String::new();
    let mut rest: Vec<PathBuf> = vec![package().join(dir)];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_dependency_is_used() {
    let manifest = toml("Cargo.toml");
    let program = sources("src") + &sources("intents");
    let tests = sources("tests") + &sources("benches") + &program;
    let mut unused = BTreeSet::new();
    for (table, sources) in [("dependencies", &program), ("dev-dependencies", &tests)] {
        for name in manifest[table].as_table().unwrap().keys() {
            let path = format!("{}::", name.replace('-', "_"));
            let is_path = |place: usize| !sources[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !sources.match_indices(&path).any(|(place, _)| is_path(place)) {
                unused.insert(name.as_str());
            }
        }
    }
    // The crate of that package has another name.
    assert!(unused.remove("rustls-webpki") && sources("src").contains("webpki::"));
    assert!(
        unused.is_empty(),
        "no line of the sources names these dependencies: {unused:?}"
    );
}

/// What a directory holds, as paths from the package on.
fn files(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(package().join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| format!("{dir}/{name}")).collect()
}

fn name(file: &str) -> &str {
    file.rsplit('/').next().unwrap()
}

#[test]
fn every_fixture_is_read() {
    let tests = sources("tests");
    let mut fixtures = files("tests/fixtures/upgrade");
    fixtures.extend(files("tests/fixtures/wire"));
    fixtures.retain(|file| !tests.contains(&format!("/{}\")", name(file))));
    assert!(fixtures.is_empty(), "nothing reads {fixtures:?}");
}

#[test]
fn every_snapshot_is_compared_with() {
    let mut snapshots = files("tests/api/wire/snapshots");
    assert!(snapshots.len() > 3);
    // Its name is `api__wire__replies__whole_v2.snap` where `tests/api/wire/replies.rs` says `format!("whole_{}", …)`.
    snapshots.retain(|file| {
        let (path, kind) = name(file).rsplit_once("__").unwrap();
        let source = fs::read_to_string(package().join(format!("tests/{}.rs", path.replace("__", "/"))));
        let (kind, _) = kind.rsplit_once('_').unwrap();
        !source.is_ok_and(|source| source.contains(&format!("assert_json_snapshot!(format!(\"{kind}_{{}}\"")))
    });
    assert!(snapshots.is_empty(), "nothing compares with {snapshots:?}");
}
