# One file, a target per image:
#
#   api, worker, lookout   what runs: one binary on a slim Debian, as user 10001
#   dev                    the toolchain and a test server, for docker-compose.dev.yml
#
# Works with BuildKit and with the older builder, so no cache mounts: the
# dependencies are a layer of their own instead.

# The same version as in rust-toolchain.toml, which stays out of the builds: it
# would fetch rustfmt and clippy too.
FROM rust:1.95.0-slim-bookworm AS rust
WORKDIR /src


FROM rust AS dev
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends faketime git make postgresql-common \
    # Its programs are wanted, a server of the system is not.
    && sed -i 's/^#\{0,1\} *create_main_cluster *=.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && if command -v rustup; then rustup component add clippy rustfmt; fi \
    # The sources belong to somebody else than root.
    && git config --system --add safe.directory /src
ENV CARGO_TARGET_DIR=/target
CMD ["bash"]


# Manifests, and an empty program wherever one has to be: all that the dependencies need.
FROM rust AS skeleton
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY bench bench
RUN find crates bench -type f ! -name Cargo.toml ! -name build.rs ! -path '*/src/lib.rs' ! -path '*/src/main.rs' \
        ! -path '*/examples/*' ! -path '*/benches/*' -delete \
    && find crates bench -name '*.rs' -exec sh -c 'for file; do echo "fn main() { }" > "$file"; done' sh {} + \
    && find crates bench -type d -empty -delete


# The dashboard, as files that the binaries take in.
FROM node:22-bookworm-slim AS dashboard
WORKDIR /src
COPY dashboard/package.json dashboard/package-lock.json dashboard/.npmrc ./
RUN npm ci --ignore-scripts
COPY dashboard ./
RUN npm run build


FROM rust AS build
# The allocator comes with a Makefile.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
# Compared by content, so this layer lasts until a manifest changes.
COPY --from=skeleton /src ./
RUN cargo build --release --locked -p api -p worker -p cli
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY migrations migrations
COPY crates crates
COPY --from=dashboard /src/dist dashboard/dist
# Files keep their age from the checkout, and cargo takes older ones for built.
RUN find crates -type f -exec touch {} + \
    && cargo build --release --locked -p api -p worker -p cli


FROM debian:bookworm-slim AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 lookout \
    && useradd --uid 10001 --gid lookout --no-create-home --home-dir /var/lib/lookout --shell /usr/sbin/nologin lookout \
    # Where data and, mounted, a configuration file live.
    && install -d -o lookout -g lookout -m 0750 /var/lib/lookout \
    && install -d /etc/lookout
WORKDIR /etc/lookout
USER 10001:10001


FROM runtime AS worker
COPY --from=build /src/target/release/worker /usr/local/bin/
ENV WORKER_ADDR=0.0.0.0:8081 LOOKOUT_DATA_DIR=/var/lib/lookout
EXPOSE 8081
ENTRYPOINT ["worker"]


FROM runtime AS lookout
COPY --from=build /src/target/release/lookout /usr/local/bin/
ENTRYPOINT ["lookout"]


FROM runtime AS api
COPY --from=build /src/target/release/api /usr/local/bin/
ENV API_ADDR=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["api"]
