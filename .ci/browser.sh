#!/usr/bin/env bash
# Has headless Chromium talk with the demo page, and hear there, and on the page of docs/conversation.md, what happens elsewhere:
#   browser.sh PROGRAM [WORK]
# Installs npm's playwright-core into WORK (default: target/browser), which keeps it for the next run, and Chromium, node and npm
# where they are missing. Exit 1: something did not come as it should.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1")
mkdir -p "${2:-target/browser}"
work=$(realpath "${2:-target/browser}")
say() { echo "browser: $*"; }
fail() { say "FAILED: $*"; tail -20 "$work/service.log" 2>/dev/null || true; exit 1; }

if ! { command -v chromium && command -v node && command -v npm; } >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium nodejs npm >/dev/null
fi
[ -d "$work/node_modules/playwright-core" ] || npm install --silent --no-audit --no-fund --prefix "$work" playwright-core@1

service_pid=
finish() { [ -z "$service_pid" ] || kill -INT "$service_pid" 2>/dev/null || true; wait; }
trap finish EXIT
rm -rf "$work/data" "$work/service.log"

for name in $(compgen -e | grep -E '^(AUTH_|DATABASE_|STREAM_|TURNS_|EVENTS_|OPERATE_)'); do unset "$name"; done
export LISTEN=127.0.0.1:18085 DATA_DIR=$work/data LOG_FORMAT=json STREAM_ALLOWED_ORIGINS=http://127.0.0.1:18086
"$program" > "$work/service.log" 2>&1 &
service_pid=$!
for _ in $(seq 600); do
    ! "$program" health > /dev/null 2>&1 || break
    kill -0 "$service_pid" 2>/dev/null || fail "the service has ended"
    sleep 0.1
done
"$program" health > /dev/null || fail "the service does not start"
say "service at $LISTEN"

cat > "$work/page.mjs" <<'JS'
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

const [program, service] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
// The page of the manual, at a listed origin with a backend of its own, and a page of somebody else.
const html = (response, body) => response.setHeader('Content-Type', 'text/html').end(`<!doctype html><link rel="icon" href="data:,">${body}`);
const manual = readFileSync('docs/conversation.md', 'utf8').match(/^    <ul id="said"[^]*?^    <\/script>$/m)[0];
const shop = createServer(async (request, response) => {
  if (request.url !== '/my-stream-token') return html(response, manual.replace('https://bot.example.com', service));
  const answer = await fetch(`${service}/stream-tokens`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"session": "projects/demo/agent/sessions/1"}',
  });
  response.setHeader('Content-Type', 'application/json').end(await answer.text());
});
const other = createServer((request, response) => html(response, ''));
await new Promise((done) => shop.listen(18086, '127.0.0.1', done));
await new Promise((done) => other.listen(18087, '127.0.0.1', done));
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const wrong = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) wrong.push(message.text()); });
  page.on('pageerror', (error) => wrong.push(String(error)));
  let stream;
  page.on('request', (request) => { if (request.url().includes('/stream?token=')) stream = request.url(); });

  const answer = await page.goto(`${service}/chat`);
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()['content-security-policy'], /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
  assert.equal(answer.headers()['x-content-type-options'], 'nosniff');
  await page.getByRole('status').getByText('Listening.').waitFor();
  const log = page.getByRole('log', { name: 'Conversation' });
  assert.equal(await log.getAttribute('aria-live'), 'polite');

  // By the keyboard alone: the field has the focus.
  const ask = async (words, expected) => {
    await page.keyboard.type(words);
    await page.keyboard.press('Enter');
    await log.getByText(words).waitFor();
    await log.getByText(expected).waitFor();
  };
  await ask('Where is order 10042?', 'Order 10042 is confirmed');
  await ask('Keep me posted', /orders/);
  await ask('<img src=x onerror="document.title=1"> order 99999?', 'I cannot find order 99999.');
  assert.equal(await log.locator('img').count(), 0, 'what is said is text');
  console.log('browser: asked, and answered');

  const window = await browser.newPage();
  window.setDefaultTimeout(20_000);
  window.on('pageerror', (error) => wrong.push(String(error)));
  const opened = window.waitForResponse((response) => response.url().includes('/stream?token='));
  await window.goto('http://127.0.0.1:18086/');
  assert.equal((await opened).status(), 200);

  const told = log.getByText('Your order #10042 has shipped');
  assert.equal(await told.count(), 0);
  execFileSync(program, ['events', 'send', 'order.shipped', '--entity', '10042', '--payload', '{"tracking_number": "1Z42"}', '--url', service]);
  await told.waitFor();
  await window.getByRole('log').getByText('Your order #10042 has shipped').waitFor();
  await ask('When does it arrive?', 'Order 10042 is on its way');
  console.log('browser: heard unasked that the order has shipped, on the page of the manual, too');
  assert.deepEqual(wrong, [], 'the console has errors');

  const foreign = await browser.newPage();
  await foreign.goto('http://127.0.0.1:18087/');
  const read = (url, options) => foreign.evaluate(async ([url, options]) => {
    try { return (await fetch(url, options)).status; } catch (error) { return error.name; }
  }, [url, options]);
  assert.ok(stream, 'the page listens by a token');
  for (const url of [stream, stream.split('?')[0]]) {
    assert.equal(await read(url, {}), 'TypeError', url);
    assert.equal(await read(url, { credentials: 'include' }), 'TypeError', url);
  }
  const heard = await foreign.evaluate((url) => new Promise((done) => {
    const stream = new EventSource(url);
    stream.onopen = () => done('open');
    stream.onerror = () => { stream.close(); done('refused'); };
  }), stream);
  assert.equal(heard, 'refused');
  assert.equal(await read(`${service}/stream-tokens`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"session": "projects/demo/agent/sessions/1"}',
  }), 'TypeError');
  console.log('browser: a page of another origin reads no stream, and gets no token');
} finally {
  await browser.close();
  shop.close();
  other.close();
}
JS
timeout 120 node "$work/page.mjs" "$program" "http://$LISTEN" || fail "the page"
kill -INT "$service_pid"; wait "$service_pid" || fail "the service stopped with $?"
service_pid=
say "all green"
