#!/usr/bin/env bash
# What must be spotless before a commit: formatting, clippy for every member and feature, the scripts themselves.
source "$(dirname "$0")/lib.sh"

scripts/deps.sh lint
for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null || die "cargo $tool is missing: rustup component add rustfmt clippy"
done
say "formatting"
cargo fmt --all --check
say "clippy"
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p vcache --lib --features pg_test -- -D warnings
say "shellcheck"
shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh .ci/run
