//! The rules of ARCHITECTURE.md that the compiler does not hold.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn rust_files(dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The names that the bot's list matches by: what stands in quotes after `.intent(`, `.tag(`, `.action(`, `.event(`.
fn intents() -> Vec<String> {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("intents/main.rs")).unwrap();
    let calls = [".intent(\"", ".tag(\"", ".action(\"", ".event(\""];
    let named = |call: &&str| -> Vec<String> {
        list.split(*call)
            .skip(1)
            .filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    };
    calls.iter().flat_map(named).collect()
}

#[test]
fn function_that_architecture_names_is_in_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named = text.split([' ', '\n']).filter_map(|word| word.split_once(".rs:"));
    let mut count = 0;
    for (file, function) in named {
        let code = fs::read_to_string(root.join("src").join(file).with_extension("rs")).unwrap();
        assert!(code.contains(&format!("fn {function}")), "{file}.rs has no {function}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn framework_names_no_intent_of_the_bot() {
    let intents = intents();
    assert!(intents.iter().any(|name| name == "Get Account Balance"), "{intents:?}");
    let modules: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("intents"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("mod.rs").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "fallback")
        .collect();
    for (path, text) in rust_files("src") {
        for name in intents.iter().chain(&modules) {
            assert!(!text.contains(name.as_str()), "{} names {name}", path.display());
        }
    }
}

#[test]
fn environment_is_read_in_one_place_and_statuses_are_decided_at_doors() {
    for (path, text) in rust_files("src") {
        let name = path.to_string_lossy().replace('\\', "/");
        if !name.contains("/src/config/") {
            // PATH is the system's, no setting of the service.
            let settings = text.replace("std::env::var_os(\"PATH\")", "");
            assert!(!settings.contains("env::var"), "{name} reads the environment");
        }
        // The recording relay is a server of its own, between a platform and the service.
        let doors = ["/door.rs", "/src/operate.rs", "/src/error.rs", "/src/cli/record.rs"];
        // A guard looks at what the route behind it has decided.
        let guard = "/src/guard/mod.rs";
        if !doors.iter().chain([&guard]).any(|door| name.ends_with(door)) {
            let knows_server = text.contains("use actix_web::");
            assert!(
                !(knows_server && text.contains("StatusCode")),
                "{name} decides a status"
            );
            // What sources deliver may come by anything.
            let is_behind = name.contains("/src/source/") || name.contains("/src/intake/");
            assert!(!(knows_server && is_behind), "{name} knows the server");
        }
    }
}

#[test]
fn platform_is_known_in_its_folder() {
    for (path, text) in rust_files("src") {
        let name = path.to_string_lossy().replace('\\', "/");
        let stands = |places: &[&str]| places.iter().any(|place| name.contains(place));
        if stands(&["/src/platform/", "/tests/"]) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: String = code.lines().filter(is_code).collect();
        // Its JSON, its names of sessions, and which of its APIs asks. Kits of tests and recorded turns post whole turns.
        if !stands(&["/src/recorded", "/src/testing"]) {
            for word in [
                "\"queryResult",
                "\"fulfillmentText",
                "\"fulfillmentInfo",
                "\"outputContexts",
                "\"sessionInfo",
                "\"projects/",
                "Api::",
            ] {
                assert!(!code.contains(word), "{name} knows a platform's {word}");
            }
        }
        // The service speaks with any platform; these speak as one.
        if !stands(&["/src/agent/spoken/", "/src/cli/chat/", "/src/testing/"]) {
            assert!(!code.contains("dialogflow::"), "{name} asks one platform");
        }
    }
}

#[test]
fn intents_use_the_public_api_only() {
    for (path, text) in rust_files("intents") {
        assert!(
            !text.contains("#[path"),
            "{} reaches around the library",
            path.display()
        );
    }
}

#[test]
fn test_that_the_security_policy_names_is_there() {
    let policy = include_str!("../../SECURITY.md");
    let tests: Vec<_> = ["src", "tests", "intents"].into_iter().flat_map(rust_files).collect();
    let rows = policy
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let named: Vec<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|tests| tests.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let is_there = tests.iter().any(|(_, text)| text.contains(&format!("fn {name}(")));
        assert!(is_there, "there is no test {name}");
    }
}
