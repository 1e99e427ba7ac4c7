# PostgreSQL 15 with RuVector and vcache, built by the project's own scripts. compose.yaml uses it.

FROM rust:1.95-bookworm AS rust

FROM postgres:15-bookworm AS build
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
WORKDIR /vcache
COPY . .
RUN scripts/deps.sh && scripts/ruvector.sh && scripts/build.sh

FROM postgres:15-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends libc-ares2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /vcache/target/stage/ruvector-pg15/lib/ /vcache/target/stage/vcache-pg15/lib/ /usr/lib/postgresql/15/lib/
COPY --from=build /vcache/target/stage/ruvector-pg15/extension/ /vcache/target/stage/vcache-pg15/extension/ /usr/share/postgresql/15/extension/
