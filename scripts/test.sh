#!/usr/bin/env bash
# Runs every test, against servers that the tests start themselves from a copy of PostgreSQL: the system's installation is left alone.
#   T=name      only the tests in tests/name.rs or tests/name/, or else those whose name contains it
#   ARGS='…'    more arguments to the test programs, such as --nocapture
source "$(dirname "$0")/lib.sh"

scripts/deps.sh
scripts/ruvector.sh
scripts/pgvector.sh
scripts/build.sh
scripts/build.sh pg_test

TMPDIR=$(open_tmp)
export TMPDIR
dir=$(mktemp -d "$TMPDIR/vcache-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
scripts/prefix.sh "$dir/pg"
scripts/prefix.sh "$dir/pg-test" pg_test
export VCACHE_PG_PREFIX=$dir/pg VCACHE_PG_TEST_PREFIX=$dir/pg-test

read -ra args <<<"${ARGS:-}"
selected=(-p vcache-core -p vcache-tests)
if [[ -n ${T:-} && (-f tests/$T.rs || -f tests/$T/main.rs) ]]; then
    selected=(-p vcache-tests --test "$T")
elif [[ -n ${T:-} ]]; then
    args=("$T" "${args[@]}")
fi

say "running the tests"
status=0
cargo test --no-fail-fast "${selected[@]}" -- "${args[@]}" 2>&1 | tee "$dir/log" || status=$?

# One line of cargo's for each test program: "test result: ok. 12 passed; 0 failed; …".
read -r passed failed < <(awk '/^test result: / {
    for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) }
} END { print p + 0, f + 0 }' "$dir/log")
if ((passed + failed == 0)); then
    say "no test ran"
    ((status)) || status=1
fi
say "tests done in $((($(date +%s) - VCACHE_STARTED) / 60)) min"
echo "$passed passed, $failed failed"
exit "$status"
