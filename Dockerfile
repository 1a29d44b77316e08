# A small image with the program and nothing else, run as an unprivileged user.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY src src
COPY intents intents
COPY migrations migrations
COPY benches benches
RUN cargo build --release --locked --bin rejoinder

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 rejoinder
USER rejoinder
WORKDIR /tmp
COPY --from=build /build/target/release/rejoinder /usr/local/bin/rejoinder
COPY events /usr/share/rejoinder/events
ENV EVENTS_DIR=/usr/share/rejoinder/events
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/rejoinder"]
