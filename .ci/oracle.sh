#!/usr/bin/env bash
# Has Google's own parser judge what the service answers: to recorded turns, and all replies of the wire's tests.
# Needs ../shared (recorded turns and the judge), python3 and PostgreSQL's server programs. Exit 1: something was refused.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d ../shared/oracle ] || { echo "oracle: no ../shared, skipped"; exit 0; }
shared=$(cd ../shared && pwd)
export PYTHONDONTWRITEBYTECODE=1

venv=${ORACLE_VENV:-target/oracle}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet google-cloud-dialogflow google-cloud-dialogflow-cx
fi

work=target/oracle-replies
rm -rf "$work" && mkdir -p "$work/tests"
failed=0

# Every reply of the tests in tests/api/wire, those to generated answers included.
REJOINDER_ORACLE_DIR="$PWD/$work/tests" cargo test --quiet --test api wire:: > "$work/tests.log" 2>&1 ||
  { echo "oracle: the wire's tests fail:"; tail -40 "$work/tests.log"; failed=1; }
judge() { # name, script, api, files…
  local name=$1 script=$2 api=$3; shift 3
  if "$venv/bin/python" "$shared/oracle/$script" --api "$api" -q "$@" > "$work/$name.log" 2>&1; then
    echo "oracle: $name: $(tail -1 "$work/$name.log")"
  else
    echo "oracle: $name: REFUSED"; grep -E 'FAIL|Error|refused' "$work/$name.log" | head -40; failed=1
  fi
}
for api in v2 v2beta1; do judge "tests $api" es_check.py $api --lines "$work/tests/$api.jsonl"; done
for api in v3 v3beta1; do judge "tests $api" cx_check.py $api --lines "$work/tests/$api.jsonl"; done

# The recorded turns, answered by the demo bot; once as each ES API.
cargo build --quiet --bin rejoinder
for api in v2 v2beta1; do
  ES_API=$api "$venv/bin/python" - "$shared" "$work/recorded-$api" target/debug/rejoinder <<'PY' || failed=1
import glob, json, os, re, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
shared, work, program = sys.argv[1:]
sys.path.insert(0, shared + '/oracle')
import cx_check, es_check
api = os.environ['ES_API']
os.makedirs(work)
with socket.socket() as s:
    s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
env = {k: v for k, v in os.environ.items() if not k.startswith('AUTH_') and k != 'DATABASE_URL'}
env |= {'LISTEN': f'127.0.0.1:{port}', 'DATA_DIR': os.path.abspath('target/oracle-data'), 'RUST_LOG': 'warn'}
# A database of an earlier run may have other tables.
shutil.rmtree('target/oracle-data', ignore_errors=True)
log = open(work + '/service.log', 'wb')
service = subprocess.Popen([program], env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
url = f'http://127.0.0.1:{port}'
def ready():
    try: return urllib.request.urlopen(url + '/readyz', timeout=1).status == 200
    except OSError: return False
try:
    until = time.monotonic() + 60
    while not ready():
        if service.poll() is not None or time.monotonic() > until:
            sys.exit('oracle: the service did not start:\n' + open(work + '/service.log').read()[-2000:])
        time.sleep(.1)
    files = [f for p in ('es_request/*', 'es_pairs/*.request.json', 'cx_request/*') for f in sorted(glob.glob(f'{shared}/payloads/{p}'))]
    counts = {'answered': 0, 'no turn': 0}; bad = []
    for file in files:
        body = open(file, 'rb').read(); cx = '/cx_request/' in file
        request = urllib.request.Request(url + '/fulfillment', body, {'Content-Type': 'application/json'})
        try: answer = urllib.request.urlopen(request, timeout=10); status, reply = answer.status, answer.read()
        except urllib.error.HTTPError as e: status, reply = e.code, e.read()
        except OSError as e: bad.append(f'{file}: {e}'); continue
        if status == 200:
            checker, version = (cx_check, 'v3') if cx else (es_check, api)
            fail, warn = checker.check(reply, version, json.loads(body))
            counts['answered'] += 1
            bad += [f'{file}: {x}' for x in fail + warn]
            continue
        try: error = json.loads(reply)['error']
        except Exception: error = {}
        if status == 400 and error.get('code') in ('not_json', 'not_a_turn') and error.get('message') and ('field' in error or 'line' in error):
            counts['no turn'] += 1
            print(f'oracle:   no turn: {os.path.basename(file)}: {error["message"]}')
        else: bad.append(f'{file}: status {status}: {reply[:200]!r}')
finally:
    service.send_signal(signal.SIGTERM)
    try: service.wait(40)
    except subprocess.TimeoutExpired: service.kill(); service.wait()
for line in bad: print('oracle:   REFUSED', line)
print(f'oracle: recorded turns as {api}: {len(files)} posted, {counts["answered"]} answered, {counts["no turn"]} refused as no turn, {len(bad)} faults')
sys.exit(1 if bad or not files else 0)
PY
done
exit $failed
