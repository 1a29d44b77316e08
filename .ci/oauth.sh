#!/usr/bin/env bash
# Has a certified OAuth 2.0 server, npm's oidc-provider, give out the tokens that callers show and that calls bear:
#   oauth.sh PROGRAM [WORK]
# Installs it into WORK (default: target/oauth), which keeps it for the next run, and node and npm where they are missing.
# Takes two minutes, for it waits until the service forgets a token that was revoked. Exit 1: something did not come as it should.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1")
mkdir -p "${2:-target/oauth}"
work=$(realpath "${2:-target/oauth}")
say() { echo "oauth: $*"; }
fail() { say "FAILED: $*"; tail -20 "$work/service.log" 2>/dev/null || true; exit 1; }

if ! { command -v node && command -v npm; } >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
fi
[ -d "$work/node_modules/oidc-provider" ] || npm install --silent --no-audit --no-fund --prefix "$work" oidc-provider@9

issuer_pid= service_pid=
finish() {
    [ -z "$service_pid" ] || kill -INT "$service_pid" 2>/dev/null || true
    [ -z "$issuer_pid" ] || kill "$issuer_pid" 2>/dev/null || true
    wait
}
trap finish EXIT
rm -rf "$work/data" "$work/events" "$work/issuer.out" "$work/issuer.log" "$work/service.log"

# The issuer, and a service behind it that takes orders from who has a token for it.
cat > "$work/issuer.mjs" <<'JS'
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const listening = (server) => new Promise((done) => {
  server.listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${server.address().port}`));
});
const server = createServer();
const issuer = await listening(server);
const client = (client_id) => ({
  client_id, client_secret: `${client_id} + secret/%`, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  token_endpoint_auth_method: 'client_secret_basic', introspection_endpoint_auth_method: 'client_secret_basic',
});
// One of these for each service: who it is, and the form of its tokens.
const services = {
  'https://bot.example/jwt': { audience: 'bot', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'https://bot.example/opaque': { audience: 'bot', accessTokenFormat: 'opaque' },
  'https://crm.example/': { audience: 'crm', accessTokenFormat: 'opaque' },
};
const provider = new Provider(issuer, {
  clients: ['caller', 'rejoinder'].map(client),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({ scope: 'turns orders', accessTokenTTL: 3600, ...services[resource] }),
    },
  },
});
const answer = provider.callback();
let asked = 0;
server.on('request', (request, response) => {
  asked += request.url.startsWith('/token/introspection') ? 1 : 0;
  answer(request, response);
});

let orders = 0;
const crm = await listening(createServer(async (request, response) => {
  if (request.url === '/figures') return response.end(JSON.stringify({ orders, asked }));
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  const found = token && await provider.ClientCredentials.find(token);
  const isGood = found && found.isValid && found.aud === 'crm' && found.clientId === 'rejoinder' && found.scope === 'orders';
  orders += isGood ? 1 : 0;
  response.writeHead(isGood ? 204 : 401).end();
}));
console.log(`${issuer} ${crm}`);
JS
node "$work/issuer.mjs" > "$work/issuer.out" 2> "$work/issuer.log" &
issuer_pid=$!
for _ in $(seq 100); do [ -s "$work/issuer.out" ] && break; sleep 0.1; done
read -r issuer crm < "$work/issuer.out" || { cat "$work/issuer.log"; fail "the issuer does not start"; }
say "issuer at $issuer"

# The service: its events, and a rule that calls what is behind the issuer.
cp -r events "$work/events"
cat > "$work/events/reactions/oauth.toml" <<TOML
on = ["order.shipped"]
[[do]]
[do.call]
url = "$crm/orders"
body = { order = "{{ entity_id }}" }
oauth = { issuer = "$issuer", client_id = "rejoinder", client_secret = "CRM_CLIENT_SECRET", scopes = ["orders"], resource = "https://crm.example/" }
allow_private = true
TOML
address=127.0.0.1:18084
for name in $(compgen -e | grep -E '^(AUTH_|DATABASE_)'); do unset "$name"; done
export LISTEN=$address DATA_DIR=$work/data EVENTS_DIR=$work/events LOG_FORMAT=json CRM_CLIENT_SECRET='rejoinder + secret/%'
AUTH_OAUTH_ISSUER=$issuer AUTH_OAUTH_CLIENT_ID=rejoinder AUTH_OAUTH_CLIENT_SECRET='rejoinder + secret/%' \
    AUTH_JWT_AUDIENCE=bot AUTH_JWT_SCOPES=turns "$program" > "$work/service.log" 2>&1 &
service_pid=$!
for _ in $(seq 600); do
    ! "$program" health > /dev/null 2>&1 || break
    kill -0 "$service_pid" 2>/dev/null || fail "the service has ended"
    sleep 0.1
done
"$program" health > /dev/null || fail "the service does not start"
say "service at $address"

secret_of() { node -p 'encodeURIComponent(process.argv[1]).replace(/%20/g, "+")' "$1 + secret/%"; }
post() { curl -s -u "caller:$(secret_of caller)" "$issuer$1" "${@:2}"; }
# token RESOURCE SCOPE
token() { post /token -d grant_type=client_credentials --data-urlencode "resource=$1" -d "scope=$2" | node -p 'JSON.parse(fs.readFileSync(0)).access_token'; }
node -p 'JSON.stringify(JSON.parse(fs.readFileSync("intents/order_status/01_confirmed.json")).request)' > "$work/turn.json"
turn() { curl -s -o "$work/answer" -w '%{http_code}' "http://$address/fulfillment" -H 'Content-Type: application/json' -d @"$work/turn.json" ${1:+-H "Authorization: Bearer $1"}; }
expect() { # what, status, token
    local found; found=$(turn "$3")
    [ "$found" = "$2" ] || { cat "$work/answer"; fail "$1: $found, expected $2"; }
    say "$1: $found"
}
figure() { curl -s "$crm/figures" | node -p "JSON.parse(fs.readFileSync(0)).$1"; }

jwt=$(token https://bot.example/jwt turns)
[[ $jwt == ey*.*.* ]] || fail "no JWT: $jwt"
expect "a JWT of the issuer" 200 "$jwt"
case $jwt in *A) altered=${jwt%?????}BBBBB ;; *) altered=${jwt%?????}AAAAA ;; esac
expect "an altered one" 401 "$altered"
expect "one without the scope" 401 "$(token https://bot.example/jwt orders)"
[ "$(figure asked)" = 0 ] || fail "the issuer was asked about its JWTs"
opaque=$(token https://bot.example/opaque turns)
[[ $opaque != *.* ]] || fail "no opaque token: $opaque"
expect "an opaque token" 200 "$opaque"
expect "the same once more" 200 "$opaque"
[ "$(figure asked)" = 1 ] || fail "the issuer was asked about one token $(figure asked) times"
expect "an altered one" 401 "${opaque%?????}AAAAA"
expect "one for another service" 401 "$(token https://crm.example/ turns)"
expect "no token" 401 ""

post /token/revocation --data-urlencode "token=$opaque" > /dev/null
revoked=$SECONDS

"$program" events send order.shipped --entity 10043 --payload '{"tracking_number": "T1", "carrier": "DHL"}' | grep 202 > /dev/null || fail "an event"
for _ in $(seq 100); do [ "$(figure orders)" = 1 ] && break; sleep 0.1; done
[ "$(figure orders)" = 1 ] || fail "the call of a rule: $(figure orders) orders, expected 1"
say "the call of a rule bore a token that its receiver took"

while [ "$(turn "$opaque")" = 200 ]; do
    [ $((SECONDS - revoked)) -le 70 ] || fail "a token is taken $((SECONDS - revoked)) s after it was revoked"
    sleep 2
done
expect "a token that was revoked $((SECONDS - revoked)) s ago" 401 "$opaque"

kill "$issuer_pid"; wait "$issuer_pid" || true
issuer_pid=
expect "a JWT while the issuer is away" 200 "$jwt"
expect "an opaque token while the issuer is away" 503 "$opaque.new"
if grep -F -e ' + secret/%' -e "$opaque" -e "$jwt" "$work/service.log" > /dev/null; then fail "a secret is in the log"; fi
kill -INT "$service_pid"; wait "$service_pid" || fail "the service stopped with $?"
service_pid=
say "all green"
