//! Each table is written in one place: whoever asks how its rows come to be what they are has one file to read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::structure::rust_files;

/// The tables and functions that the framework's migrations make.
fn made(word: &str) -> BTreeSet<String> {
    let dir = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let texts: Vec<String> = dir
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let start = format!("create {word} ");
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .filter_map(|line| line.strip_prefix(&start))
        .map(|rest| rest.split([' ', '(']).next().unwrap().to_owned())
        .collect()
}

/// Which files of `src/` write to each table: those whose statements insert, update or delete.
fn writers() -> BTreeMap<String, BTreeSet<String>> {
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in rust_files("src") {
        let path = path.display().to_string();
        if path.contains("/tests/") || path.ends_with("/tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for verb in ["insert into rejoinder.", "update rejoinder.", "delete from rejoinder."] {
            for after in code.split(verb).skip(1) {
                let table: String = after
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                writers.entry(table).or_default().insert(path.clone());
            }
        }
    }
    writers
}

#[test]
fn table_is_written_in_one_file() {
    let writers = writers();
    assert!(writers.len() > 20, "{writers:?}");
    let shared: Vec<_> = writers.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:#?}");
}

#[test]
fn statement_names_the_schema_of_each_table() {
    let tables = made("table");
    assert!(tables.len() > 20 && tables.contains("event_log"), "{tables:?}");
    let queries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx")).unwrap();
    let (mut bare, mut read) = (Vec::new(), 0);
    for query in queries {
        let query: Value = serde_json::from_slice(&std::fs::read(query.unwrap().path()).unwrap()).unwrap();
        let words: Vec<&str> = query["query"].as_str().unwrap().split_whitespace().collect();
        for pair in words.windows(2) {
            let name = pair[1].trim_end_matches([',', ';', ')']);
            read += usize::from(name.starts_with("rejoinder."));
            if ["from", "join", "into", "update"].contains(&pair[0]) && tables.contains(name) {
                bare.push(words.join(" "));
            }
        }
    }
    assert!(read > 100 && bare.is_empty(), "{read} {bare:#?}");
}
