//! `--help` and `.env.example` name the same settings, with the same words and the same defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A setting: what is said about it, and its default.
type Described = BTreeMap<String, (String, String)>;

/// What ends the help.
const END: &str = "(end)";

/// From `--help`: `Words [env: NAME=] [default: …]` under each flag.
fn in_help() -> Described {
    let help = |arguments: &[&str]| {
        let help = Command::new(env!("CARGO_BIN_EXE_rejoinder"))
            .args(arguments)
            .output()
            .unwrap()
            .stdout;
        String::from_utf8(help).unwrap()
    };
    let help = help(&["--help"]) + &help(&["work", "--help"]);
    let mut described = Described::new();
    let mut words: Vec<&str> = Vec::new();
    for line in help.lines().chain([END]) {
        let line = line.trim();
        // A flag begins the next setting; blank lines and lists of values stand within one.
        if line.starts_with("--") || line == END {
            let text = words.join(" ");
            if let Some((help, rest)) = text.split_once("[env: ") {
                let name = rest.split(['=', ']']).next().unwrap();
                let default = rest
                    .split_once("[default: ")
                    .map_or("", |(_, default)| default.split(']').next().unwrap());
                described.insert(name.to_owned(), (help.trim().to_owned(), default.to_owned()));
            }
            words.clear();
        } else if !line.starts_with("- ") && !line.starts_with("Possible values") {
            words.push(line);
        }
    }
    described
}

/// From `.env.example`: `# words` lines, then `NAME=default`, commented out where there is no default.
fn in_example() -> Described {
    let mut described = Described::new();
    let mut words: Vec<&str> = Vec::new();
    for line in include_str!("../../.env.example").lines() {
        if let Some((name, default)) = line.trim_start_matches('#').split_once('=')
            && name
                .chars()
                .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
        {
            described.insert(name.to_owned(), (words.join(" "), default.to_owned()));
            words.clear();
        } else if let Some(word) = line.strip_prefix("# ") {
            words.push(word.trim());
        } else {
            words.clear();
        }
    }
    described
}

#[test]
fn help_and_env_example_agree_on_every_setting() {
    let (help, example) = (in_help(), in_example());
    assert!(help.len() > 20, "settings found in --help: {:?}", help.keys());
    for (name, described) in &help {
        assert!(described.0.len() > 20, "{name} is not described: {described:?}");
        assert_eq!(Some(described), example.get(name), "{name}");
    }
    let unknown: Vec<_> = example.keys().filter(|name| !help.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "in .env.example only: {unknown:?}");
}

#[test]
fn secrets_of_the_environment_are_not_shown_in_help() {
    let help = Command::new(env!("CARGO_BIN_EXE_rejoinder"))
        .arg("--help")
        .envs([
            ("AUTH_BASIC", "ada:hunter2"),
            ("DATABASE_URL", "postgres://a:hunter2@db/a"),
            ("AUTH_HMAC_SECRET", "hunter2"),
        ])
        .output()
        .unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("hunter2"));
}

/// The names of settings in a manifest, by their looks.
fn names_in(manifest: &str) -> impl Iterator<Item = &str> {
    let lines = manifest.lines().map(|line| line.split("# ").next().unwrap());
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| {
        let is_capital = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_capital && (word.contains('_') || *word == "LISTEN")
    })
}

#[test]
fn manifests_set_what_there_is_to_set() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = |dir: &str| -> Vec<String> {
        let files = fs::read_dir(root.join(dir)).unwrap();
        files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    };
    let (help, sources) = (in_help(), texts("src/source/providers").concat());
    let manifests = texts("deploy/kubernetes");
    let set: Vec<&str> = manifests.iter().flat_map(|manifest| names_in(manifest)).collect();
    assert!(set.len() > 10, "{set:?}");
    for name in set {
        let is_secret_of_a_source = sources.contains(&format!("env = \"{name}\""));
        assert!(help.contains_key(name) || is_secret_of_a_source, "{name} is no setting");
    }
}
