#!/usr/bin/env bash
# Begins a bot outside of the repository and works in it as its author would:
#   adopt.sh PROGRAM
# Shares the target directory, so that only the bot itself is built. Exit 1: something did not come as it should.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1")
export CARGO_TARGET_DIR=$PWD/target
home=$(mktemp -d)
served=
finish() { [ -z "$served" ] || kill -INT "$served" 2>/dev/null || true; wait; rm -rf "$home"; }
trap finish EXIT
say() { echo "adopt: $*"; }
fail() { say "FAILED: $*"; exit 1; }
unset DATABASE_URL

"$program" init "$home/mybot" --path . > "$home/said"
cd "$home/mybot"

# A database of somebody else is nothing that the framework is built by.
touch "$OLDPWD/src/lib.rs"
DATABASE_URL=postgres://nobody@127.0.0.1:1/none cargo build --quiet
say "built"

address=127.0.0.1:18083
LISTEN=$address cargo run --quiet > "$home/out" 2> "$home/log" &
served=$!
for _ in $(seq 200); do grep 'mybot serves on' "$home/out" > /dev/null && break; sleep 0.1; done
turn() { sed -n "s/^  curl .* -d '\(.*\)'$/\1/p" "$home/out" | curl -s "http://$address/fulfillment" -H 'Content-Type: application/json' -d @-; }
turn | grep 'On monday we are open from 09:00 to 18:00.' > /dev/null || { cat "$home/log"; fail "the turn that it printed"; }
LISTEN=$address cargo run --quiet -- events send note.written --entity monday --payload '{"note": "Ring the bell."}' |
    grep 202 > /dev/null || fail "an event"
for _ in $(seq 50); do turn | grep 'Ring the bell' > /dev/null && break; sleep 0.1; done
turn | grep 'Ring the bell' > /dev/null || fail "what came of the event"
kill -INT "$served"; wait "$served" || fail "stopped with $?"
served=
say "served a turn, and an event"

cargo test --quiet > "$home/tested" 2>&1 || { cat "$home/tested"; fail "its tests"; }
say "$(grep 'test result' "$home/tested")"

cargo run --quiet -- --version | grep '^mybot 0.1.0 (rejoinder ' > /dev/null || fail "its version"
! cargo run --quiet -- forget 2> "$home/said" || fail "a command that lacks an argument"
grep 'Usage: mybot forget' "$home/said" > /dev/null || { cat "$home/said"; fail "the name in which it speaks"; }
cargo run --quiet -- man | grep '^.TH mybot 1 ' > /dev/null || fail "its manual"

# Its own queries are checked against its own tables.
"$program" prepare --check | grep 'queries in .sqlx: 1, up to date' > /dev/null || fail "prepare --check"
sed -i.bak 's/from opening_hours/from closing_hours/' src/opening_hours/mod.rs
! "$program" prepare > "$home/said" 2>&1 || fail "a query of a table that is not there was taken"
grep 'relation "closing_hours" does not exist' "$home/said" > /dev/null || { cat "$home/said"; fail "what is wrong with a query"; }
mv src/opening_hours/mod.rs.bak src/opening_hours/mod.rs
say "queries checked"

# The three mistakes that one makes first are told in our words.
mistake() {
    cp src/opening_hours/mod.rs "$home/right"
    sed -i "$2" src/opening_hours/mod.rs
    ! cmp -s src/opening_hours/mod.rs "$home/right" || fail "$1: the file is as it was"
    ! cargo check --quiet 2> "$home/said" || fail "$1 was taken"
    for words in 'is not a handler of turns' 'returns Result<Reply, Fail>' 'implements serde::Deserialize'; do
        grep "$words" "$home/said" > /dev/null || { cat "$home/said"; fail "$1: expected the words: $words"; }
    done
    cp "$home/right" src/opening_hours/mod.rs
}
mistake "an argument that is none" 's/memory: Memory) ->/memory: Memory, who: String) ->/'
mistake "another return type" '/^pub async fn handle/,/^}/{s/Result<Reply, Fail>/Result<String, Fail>/;s/Ok(Reply::text(text))/Ok(text)/}'
mistake "parameters that cannot be read" 's/^#\[derive(Deserialize)\]$//'
say "three mistakes told"
say "all green"
