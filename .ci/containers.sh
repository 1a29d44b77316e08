#!/usr/bin/env bash
# Brings docker-compose.yml up on a real Docker engine, with the program that was just built:
#   containers.sh PROGRAM [WORK]
# Starts an engine of its own, and makes the base images from Debian's packages, so no image registry is needed. WORK
# (default: target/containers) keeps both for the next run. Needs root on a Debian; elsewhere it says so and checks nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
program=$(realpath "$1")
mkdir -p "${2:-target/containers}"
work=$(realpath "${2:-target/containers}")

skip() { echo "containers: skipped: $*"; exit 0; }
say() { echo "containers: $*"; }
[ "$(id -u)" = 0 ] || skip "not root"
[ -e /etc/debian_version ] || skip "not a Debian"
[ -e /sys/fs/cgroup ] || skip "no control groups"

export DEBIAN_FRONTEND=noninteractive DOCKER_HOST=unix://$work/engine.sock DOCKER_CONFIG=$work/client
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sed -n 1p)
[ -n "$mirror" ] || { apt-get update -qq; mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sed -n 1p); }
if ! { command -v debootstrap && command -v runc && command -v iptables && command -v curl; } >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends debootstrap runc iptables curl >/dev/null
fi

# The engine, compose and buildx of Debian 13, whatever Debian this is: `additional_contexts` wants them.
engine=$work/engine
if [ ! -x "$engine/usr/sbin/dockerd" ]; then
    apt=$work/apt
    mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$apt"/preferences
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$apt/sources.list"
    cat > "$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "$apt/preferences";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
CONF
    (
        cd "$apt"
        export APT_CONFIG=$apt/apt.conf
        apt-get update -qq
        apt-get download -qq docker.io containerd docker-cli docker-buildx docker-compose
        for package in *.deb; do dpkg-deb -x "$package" "$engine"; done
    )
fi
mkdir -p "$DOCKER_CONFIG/cli-plugins"
cp "$engine"/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
export PATH=$engine/usr/bin:$engine/usr/sbin:$PATH

# Limits below those of this process: where it may not raise them, a container could not be started otherwise.
files=$(ulimit -Hn); [ "$files" != unlimited ] && [ "$files" -lt 20000 ] || files=20000
cat > "$work/engine.json" <<CONF
{"data-root": "$work/data", "exec-root": "$work/exec", "pidfile": "$work/engine.pid", "hosts": ["$DOCKER_HOST"],
 "exec-opts": ["native.cgroupdriver=cgroupfs"],
 "default-ulimits": {"nofile": {"Name": "nofile", "Soft": $files, "Hard": $files}}}
CONF
if [ -e "$work/engine.pid" ]; then kill "$(cat "$work/engine.pid")" 2>/dev/null || true; sleep 1; rm -f "$work/engine.pid"; fi
forward=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p' || true)
dockerd --config-file "$work/engine.json" > "$work/engine.log" 2>&1 &
daemon=$!
compose() {
    docker compose --project-name rejoinder-check --project-directory "$checkout" \
        --file "$checkout/docker-compose.yml" --file "$work/override.yml" --profile app "$@"
}
finish() {
    compose down --volumes > /dev/null 2>&1 || true
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    [ -z "$forward" ] || iptables -P FORWARD "$forward" || true
}
trap finish EXIT
for _ in $(seq 150); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
docker version >/dev/null 2>&1 || { tail -5 "$work/engine.log"; skip "the engine does not start here"; }
say "engine $(docker version --format '{{.Server.Version}}')"

# The images that the files name, from the same system's packages.
if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1; then
    debootstrap --variant=minbase bookworm "$work/bookworm" "$mirror" > "$work/debootstrap.log"
    rm -rf "$work"/bookworm/var/cache/apt/* "$work"/bookworm/var/lib/apt/lists/* "$work"/bookworm/usr/share/{doc,man,locale}
    tar -C "$work/bookworm" -c . | docker import - debian:bookworm-slim >/dev/null
    rm -rf "$work/bookworm"
    say "debian:bookworm-slim made"
fi
if ! docker image inspect postgres:17-alpine >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=postgresql-17,gosu trixie "$work/trixie" "$mirror" > "$work/debootstrap.log"
    # As the official image starts: with an empty volume, a server on the socket alone first.
    cat > "$work/trixie/usr/local/bin/start" <<'START'
#!/bin/sh
set -e
export PATH=/usr/lib/postgresql/17/bin:$PATH PGDATA=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /run/postgresql
    chown postgres "$PGDATA" /run/postgresql
    exec gosu postgres "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 > /dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses=" start > /dev/null
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    # Long enough for a health check that would take this server for the real one.
    sleep 5
    pg_ctl -w -m fast stop > /dev/null
fi
exec postgres -c listen_addresses='*'
START
    chmod 755 "$work/trixie/usr/local/bin/start"
    tar -C "$work/trixie" -c . |
        docker import --change 'ENTRYPOINT ["start"]' --change 'STOPSIGNAL SIGINT' --change 'VOLUME /var/lib/postgresql/data' \
            --change 'ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - postgres:17-alpine > /dev/null
    rm -rf "$work/trixie"
    say "postgres:17-alpine made"
fi

# The last stage as it stands in the Dockerfile; the first is the program given.
install -D "$program" "$work/build/build/target/release/rejoinder"
strip "$work/build/build/target/release/rejoinder" 2>/dev/null || true
cat > "$work/override.yml" <<CONF
services: {app: {build: {additional_contexts: {build: "$work/build"}}}}
CONF
fail() { say "FAILED: $*"; compose ps --all; compose logs --tail 20 app; exit 1; }
export AUTH_BEARER=a-token-of-the-check-0123456789abcdef APP_PORT=18080 POSTGRES_PORT=15432
url=http://127.0.0.1:$APP_PORT
turn() {
    curl -s --max-time 8 "$url/fulfillment" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' -d '{
        "session": "projects/p/agent/sessions/1",
        "queryResult": {"intent": {"displayName": "Get Account Balance"},
                        "parameters": {"user_id": "12345", "account_type": "checking"}}}'
}

compose config --quiet
compose --profile observe config --quiet
for round in 1 2 3 4 5; do
    compose down --volumes > /dev/null 2>&1
    compose up --detach --build --wait > "$work/up.log" 2>&1 || { cat "$work/up.log"; fail "round $round: up on a fresh volume"; }
    turn "$AUTH_BEARER" | grep '3,247.82' > /dev/null || fail "round $round: the turn of the README"
    say "round $round: up on a fresh volume, healthy, and the turn answered"
done
app=$(compose ps --quiet app)
[ "$(turn wrong | head -c 9)" = '{"error":' ] || fail "a stranger was not refused"
[ "$(docker image inspect rejoinder-check-app --format '{{.Config.User}}')" = 10001:10001 ] || fail "the image's user"
[ "$(docker exec "$app" id -u)" = 10001 ] || fail "it runs as root"
! docker exec "$app" touch /usr/share/rejoinder/x 2>/dev/null || fail "its root can be written"
[ "$(docker inspect "$app" --format '{{.State.Health.Status}}')" = healthy ] || fail "its health"
say "not root, read-only, healthy; $(docker image inspect rejoinder-check-app --format '{{.Size}}' | numfmt --to=si) B"

plain=$(docker logs "$app" 2>&1 | grep -v '^{' | head -3 || true)
[ -z "$plain" ] || fail "lines of the log that are no JSON: $plain"
say "every line of the log is JSON"

# An event from outside, signed with the one secret that all replicas have.
send() { docker exec "$app" rejoinder events send order.shipped --entity 10042 --payload '{"tracking_number": "1Z"}' "$@"; }
send --id before | grep 202 > /dev/null || fail "an event"
# Not by `docker kill`, which the engine takes for a wish that it stays down.
kill -9 "$(docker inspect "$app" --format '{{.State.Pid}}')"
sleep 1
for _ in $(seq 100); do
    [ "$(docker inspect "$app" --format '{{.State.Running}} {{.State.Health.Status}}')" = "true healthy" ] && break
    sleep 0.3
done
turn "$AUTH_BEARER" | grep '3,247.82' > /dev/null || fail "it was not started again after a kill"
say "started again after a kill"

compose down > /dev/null 2>&1
compose up --detach --wait > "$work/up.log" 2>&1 || fail "up again"
app=$(compose ps --quiet app)
send --id before | grep '200' > /dev/null || fail "after down and up, an event sent before is not known, or its secret is another"
turn "$AUTH_BEARER" | grep '3,247.82' > /dev/null || fail "a turn after down and up"
say "data and secret kept over down and up"

started=$(date +%s%N)
compose stop app > /dev/null 2>&1
code=$(docker inspect "$app" --format '{{.State.ExitCode}}')
[ "$code" = 0 ] || fail "stopped with $code"
say "stopped in $((($(date +%s%N) - started) / 1000000)) ms"
say "all green"
