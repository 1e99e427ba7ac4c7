#!/usr/bin/env bash
# Builds the engine RuVector from crates.io and stages it in target/stage/ruvector-pg15: lib/ and extension/.
# cargo-pgrx is not needed: the crate brings its SQL written by hand.
source "$(dirname "$0")/lib.sh"

version=2.0.6
sql=ruvector--0.3.0.sql
work=$target/ruvector
out=$stage/ruvector-pg$pg_major
stamp="ruvector-postgres $version for $(pg_version)"

take_turns ruvector
if [[ -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
    say "RuVector is built: $stamp"
    exit
fi

source=$work/ruvector-postgres-$version
if [[ ! -f $source/Cargo.toml ]]; then
    say "fetching the source of ruvector-postgres $version"
    mkdir -p "$work/fetch/src"
    : >"$work/fetch/src/lib.rs"
    cat >"$work/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
ruvector-postgres = { version = "=$version", default-features = false, features = ["pg$pg_major"] }
TOML
    cargo vendor --quiet --manifest-path "$work/fetch/Cargo.toml" "$work/fetch/vendor" >/dev/null 9>&-
    rm -rf "$source.new"
    cp -r "$work/fetch/vendor/ruvector-postgres" "$source.new"
    # A workspace of its own: it lies inside the tree of ours.
    printf '\n[workspace]\n' >>"$source.new/Cargo.toml"
    mv "$source.new" "$source"
    rm -rf "$work/fetch"
fi

say "building RuVector (a few minutes)"
cargo build --release --lib --locked --manifest-path "$source/Cargo.toml" --target-dir "$work/build" \
    --no-default-features --features "pg$pg_major" 9>&-

rm -rf "$out.new"
mkdir -p "$out.new/lib" "$out.new/extension"
cp "$work/build/release/libruvector_postgres.so" "$out.new/lib/ruvector.so"
cp "$source/ruvector.control" "$source/sql/$sql" "$out.new/extension/"
printf '%s\n' "$stamp" >"$out.new/stamp"
replace_dir "$out.new" "$out"
say "RuVector is staged"
