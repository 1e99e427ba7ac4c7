#!/usr/bin/env bash
# The checks that take hours: the checker of exact freshness (scripts/checker.sh says how long), each fuzz target over 10 million inputs, and the
# tests of vcache-core under Miri. The latter two need a nightly Rust, which is used for nothing else; cargo-fuzz is built into target/tools. What they
# start from, the corpus in the tree, is replayed by every `make test`.
#   RUNS=n      inputs for each target (10000000)
source "$(dirname "$0")/lib.sh"

runs=${RUNS:-10000000}
fuzz=crates/vcache-core/fuzz
cargo_fuzz=$target/tools/bin/cargo-fuzz
cargo_fuzz_version=0.13.2

nightly() {
    cargo +nightly "$@"
}
nightly --version >/dev/null 2>&1 || die "there is no nightly Rust: rustup toolchain install nightly --profile minimal"
take_turns deep
scripts/checker.sh

if [[ $("$cargo_fuzz" --version 2>/dev/null) != "cargo-fuzz $cargo_fuzz_version" ]]; then
    say "building cargo-fuzz $cargo_fuzz_version"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install cargo-fuzz --version "$cargo_fuzz_version" --locked --force \
        --root "$target/tools" --target-dir "$target/tools/build" 9>&-
    rm -rf "$target/tools/build"
fi
PATH=${cargo_fuzz%/*}:$PATH

for seeds in "$fuzz"/corpus/*/; do
    name=$(basename "$seeds")
    found=$target/fuzz/$name
    mkdir -p "$found" "$target/fuzz/artifacts/$name"
    say "fuzzing $name: $runs inputs"
    # What it finds goes into the first directory; an input that breaks something is left among the artifacts, and ends this with an error.
    nightly fuzz run --fuzz-dir "$fuzz" --target-dir "$target/fuzz/build" "$name" "$found" "$seeds" -- \
        -runs="$runs" -max_len=4096 -print_final_stats=1 -artifact_prefix="$target/fuzz/artifacts/$name/" 9>&- 2>&1 |
        grep -E '^(stat::|Done|==|SUMMARY|.*panicked|artifact_prefix)' || die "$name failed: see $target/fuzz/artifacts/$name"
done

if nightly miri --version >/dev/null 2>&1; then
    say "the tests of vcache-core under Miri"
    # It is some hundred times slower, so each property is tried on fewer inputs. The corpus is read from files: no isolation.
    MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=${PROPTEST_CASES:-16} CARGO_TARGET_DIR=$target/miri \
        nightly miri test -p vcache-core 9>&-
else
    say "left out: Miri is not installed (rustup component add --toolchain nightly miri rust-src)"
fi
say "done"
