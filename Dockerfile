# A small image with the program and nothing else, run as an unprivileged user.
# Both images may be named by digest: --build-arg BASE_IMAGE=debian:bookworm-slim@sha256:…
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY build.rs build.rs
COPY .sqlx .sqlx
COPY src src
COPY intents intents
COPY migrations migrations
COPY template template
COPY benches benches
# The caches keep what the dependencies were built to: a change of our own source builds our own crate.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/cache \
    cargo build --release --locked --bin rejoinder --target-dir cache \
    && install -D cache/release/rejoinder target/release/rejoinder

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Rejoinder" \
      org.opencontainers.image.description="The fulfillment backend for chatbots" \
      org.opencontainers.image.licenses="MIT"
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 rejoinder \
    && useradd --no-create-home --uid 10001 --gid 10001 rejoinder
# A number, which Kubernetes' runAsNonRoot can judge.
USER 10001:10001
WORKDIR /tmp
COPY LICENSE /usr/share/doc/rejoinder/LICENSE
COPY events /usr/share/rejoinder/events
COPY --from=build /build/target/release/rejoinder /usr/local/bin/rejoinder
# Where DATABASE_URL was forgotten it ends, rather than serve from a database that goes with the container; and where both
# TLS_CERT_FILE and TRUSTED_PROXIES were, rather than take in plain text what anybody on the way can read.
ENV EVENTS_DIR=/usr/share/rejoinder/events LISTEN=0.0.0.0:8080 PG_FETCH=never
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["/usr/local/bin/rejoinder", "health"]
ENTRYPOINT ["/usr/local/bin/rejoinder"]
