#!/usr/bin/env bash
# Has the sources take in what others have recorded: known signatures of each scheme, and bodies of each provider.
# Needs ../shared/payloads. Exit 1: something was refused that should not be, or the other way round.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d ../shared/payloads ] || { echo "recorded events: no ../shared, skipped"; exit 0; }

log=target/recorded-events.log
if ! REJOINDER_RECORDED=$(cd ../shared/payloads && pwd) \
    cargo test --quiet --lib source::tests::recorded -- --ignored --nocapture > "$log" 2>&1; then
    grep -vE '^(stripe|github|shopify|slack|square|paypal|cloudevents): .*: [a-z0-9_.-]+ of ' "$log" | tail -60
    exit 1
fi
grep -oE '[0-9]+ (known answers|bodies taken in)$' "$log"
