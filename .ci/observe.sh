#!/usr/bin/env bash
# Has a real Prometheus scrape the program by the shipped configuration, and asks it all that the rules and the dashboard ask; and has
# a collector take its spans, of a turn and of an event, which must be one trace:
#   observe.sh PROGRAM
# Installs Prometheus where it is missing, and the collector under target/. All that it starts listens on loopback and ends with it. Exit 1: something did not
# come as it should.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1")
home=$(mktemp -d)
started=()
finish() {
    [ -z "${tap:-}" ] || kill "$tap" 2>/dev/null || true
    [ ${#started[@]} = 0 ] || kill -INT "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$home"
}
trap finish EXIT
say() { echo "observe: $*"; }
fail() { say "FAILED: $*"; tail -5 "$home"/*.log 2>/dev/null; exit 1; }
until_so() { for _ in $(seq 200); do "${@:2}" > /dev/null 2>&1 && return; sleep 0.1; done; fail "still not so: $1"; }
unset DATABASE_URL

if ! { command -v promtool && command -v prometheus; } > /dev/null; then
    [ -e /etc/debian_version ] && [ "$(id -u)" = 0 ] || { say "skipped: no Prometheus"; exit 0; }
    apt-get update -qq
    # Its own service is not to run.
    printf '#!/bin/sh\nexit 101\n' > "$home/no-service"; chmod 755 "$home/no-service"
    [ -e /usr/sbin/policy-rc.d ] || { cp "$home/no-service" /usr/sbin/policy-rc.d; policy=/usr/sbin/policy-rc.d; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus > /dev/null
    [ -z "${policy:-}" ] || rm -f "$policy"
fi

promtool check rules deploy/prometheus/rules.yml > "$home/said" || { cat "$home/said"; fail "the rules"; }
promtool test rules deploy/prometheus/rules_test.yml > "$home/said" 2>&1 || { cat "$home/said"; fail "the rules' tests"; }
say "rules and their tests"

# Each alert has its section in the manual, and no section is left behind.
diff <(sed -n 's/^ *- alert: //p' deploy/prometheus/rules.yml | sort) <(sed -n 's/^### \(Rejoinder\)/\1/p' docs/operations.md | sort) ||
    fail "alerts and their sections in docs/operations.md"
for alert in $(sed -n 's/^ *- alert: //p' deploy/prometheus/rules.yml); do
    for is in 'told' 'not told'; do
        grep "name: $alert is $is$" deploy/prometheus/rules_test.yml > /dev/null || fail "$alert has no test in which it is $is"
    done
done

[ -x target/checkers/bin/oteltap ] || { python3 -m venv target/checkers && target/checkers/bin/pip install --quiet oteltap==1.0.0; }
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
collector=$(free)
# Ends by itself once it has the last span of the trace.
PYTHONUNBUFFERED=1 target/checkers/bin/oteltap --port "$collector" --await-span '^say$' > "$home/spans" 2> "$home/collector.log" &
tap=$!
until_so "the collector listens" bash -c ": < /dev/tcp/127.0.0.1/$collector"

token=a-token-of-the-check-0123456789abcdef
echo "$token" > "$home/token"
secret=whsec_$(printf 'a-secret-of-the-check-0123456789' | base64)
LISTEN=127.0.0.1:0 AUTH_BEARER=$token DATA_DIR=$home/data GENERIC_WEBHOOK_SECRET=$secret \
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$collector \
    "$program" > "$home/serve.out" 2> "$home/serve.log" &
started+=($!)
until_so "it serves" grep 'serves on' "$home/serve.out"
url=$(sed -n 's/.* serves on //p' "$home/serve.out")
say "serves on $url"

mkdir "$home/prometheus"
cp deploy/prometheus/rules.yml "$home/prometheus/"
sed -e "s#/run/secrets/rejoinder_token#$home/token#" -e "s#app:8080#${url#http://}#" -e 's/\(_interval: \)15s/\11s/' \
    deploy/prometheus/prometheus.yml > "$home/prometheus/prometheus.yml"
promtool check config "$home/prometheus/prometheus.yml" > "$home/said" 2>&1 || { cat "$home/said"; fail "the configuration"; }
port=$(free)
prometheus --config.file="$home/prometheus/prometheus.yml" --storage.tsdb.path="$home/tsdb" \
    --web.listen-address="127.0.0.1:$port" > "$home/prometheus.log" 2>&1 &
started+=($!)

turn() {
    curl -sf "$url/fulfillment" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d "{
        \"session\": \"projects/p/agent/sessions/$1\", \"responseId\": \"r$1\",
        \"queryResult\": {\"intent\": {\"displayName\": \"Get Account Balance\"},
                          \"parameters\": {\"user_id\": \"12345\", \"account_type\": \"checking\"}}}"
}
for n in 1 2 3; do turn "$n" | grep '3,247.82' > /dev/null || fail "a turn"; done
# A turn that follows an order, what happens to the order, and what the conversation hears of it: one trace, which the caller began.
trace=4bf92f3577b34da6a3ce929d0e0e4736
traceparent=00-$trace-00f067aa0ba902b7-01
curl -sf "$url/fulfillment" -H "Authorization: Bearer $token" -H "traceparent: $traceparent" -H 'Content-Type: application/json' -d '{
    "session": "projects/p/agent/sessions/traced", "responseId": "traced",
    "queryResult": {"intent": {"displayName": "Order Status"}, "parameters": {"order_number": "10042"}}}' > "$home/said" || fail "a turn"
python3 - "$url" "$secret" "$traceparent" <<'PYTHON' || fail "a signed event"
import base64, hmac, json, sys, time, urllib.request

url, secret, traceparent = sys.argv[1:]
body = json.dumps({"event_id": "evt_traced", "event_type": "order.shipped", "entity_id": "10042", "schema_version": 2,
                   "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "payload": {"tracking_number": "1Z999"}})
sent_at = str(int(time.time()))
signed = f"evt_traced.{sent_at}.{body}".encode()
signature = base64.b64encode(hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")).decode()
headers = {"Content-Type": "application/json", "webhook-id": "evt_traced", "webhook-timestamp": sent_at,
           "webhook-signature": f"v1,{signature}", "traceparent": traceparent}
urllib.request.urlopen(urllib.request.Request(f"{url}/events/generic", body.encode(), headers))
PYTHON
until_so "the message's span has come" bash -c "! kill -0 $tap"
wait "$tap" || fail "the collector"
python3 - "$home/spans" "$trace" <<'PYTHON' || { head -c 4000 "$home/spans"; fail "the trace"; }
import json, sys

# The collector writes a line for each span.
found = [json.loads(line) for line in open(sys.argv[1]) if line.startswith('{"traceId"')]
found = [span for span in found if span["traceId"] == sys.argv[2]]
names = {span["name"] for span in found}
told = {attribute["key"]: list(attribute["value"].values())[0] for span in found for attribute in span.get("attributes", [])}
assert {"request", "database", "event", "apply", "say"} <= names, names
assert told.get("event.id") == "evt_traced" and told.get("session.id"), told
print(f"observe: one trace of a turn, its connections, an event, its application and its message: {len(found)} spans")
PYTHON

send() {
    LISTEN=${url#http://} DATA_DIR=$home/data GENERIC_WEBHOOK_SECRET=$secret \
        "$program" events send "$@" --url "$url" > "$home/said" 2>&1 || { cat "$home/said"; fail "an event"; }
}
send payment.confirmed --entity 10041 --payload '{"amount": 129.95, "currency": "EUR"}'
send inventory.reserved --entity 10041

# What Prometheus answers: asked QUERY
asked() { curl -s "http://127.0.0.1:$port/api/v1/query" --data-urlencode "query=$1"; }
has() { asked "$1" | grep -v '"result":\[\]' | grep '"status":"success"'; }
until_so "it is scraped, and the rules are asked" has 'up{job="rejoinder"} == 1'
until_so "turns are seen" has 'sum(rejoinder_turn_duration_seconds_count{outcome="reply"}) >= 3'
until_so "events are seen" has 'sum(rejoinder_events_applied_total) >= 2'
until_so "spans are seen" has 'rejoinder_spans_total{outcome="sent"} > 0'
say "scraped by a real Prometheus"

curl -sf "$url/metrics" -H "Authorization: Bearer $token" > "$home/metrics"
python3 - "$home/metrics" "http://127.0.0.1:$port" <<'PYTHON' || fail "a query"
import json, re, sys, urllib.parse, urllib.request

served = {}
for line in open(sys.argv[1]):
    if line.startswith("# TYPE "):
        _, _, name, kind = line.split()
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(kind, [""])
        served.update({name + end: kind for end in ends})
listed = set(re.findall(r"`((?:rejoinder|process)_\w+)", open("docs/metrics.md").read()))
# An expression is what stands after `expr:`, further in.
rules = open("deploy/prometheus/rules.yml").read()
rules = [re.sub(r"^ *", "", text, flags=re.M) for text in re.findall(r"expr: (?:\||>-)\n((?: {10,}.*\n)+)", rules)]
dashboard = json.load(open("deploy/grafana/dashboard.json"))
panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
exprs = rules + [target["expr"] for panel in panels for target in panel["targets"]]
assert len(rules) > 15 and len(exprs) > 60, (len(rules), len(exprs))
wrong, names = [], set()
for expr in exprs:
    query = urllib.parse.urlencode({"query": expr})
    try:
        answer = json.load(urllib.request.urlopen(f"{sys.argv[2]}/api/v1/query?{query}"))
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    if answer["status"] != "success":
        wrong.append(f"{expr}: {answer}")
    used = set(re.findall(r"\b(?:rejoinder|process)_\w+", expr))
    names |= used
    wrong += [f"{expr}: nobody knows {name}" for name in used if name not in served and name not in listed]
shown = [(panel["title"], panel["gridPos"]) for panel in panels]
for at, (title, a) in enumerate(shown):
    for other, b in shown[:at]:
        if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]:
            wrong.append(f"dashboard: {title} lies on {other}")
print("\n".join(wrong), end="")
print(f"observe: {len(exprs)} queries of the rules and the dashboard answered, with {len(names)} metrics")
sys.exit(bool(wrong))
PYTHON

for process in "${started[@]}"; do kill -INT "$process"; done
for process in "${started[@]}"; do wait "$process" || fail "a process ended with $?"; done
started=()
say "all green"
