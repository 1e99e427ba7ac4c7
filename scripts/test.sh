#!/usr/bin/env bash
# Runs every test, against servers that the tests start themselves from a copy of PostgreSQL: the system's installation is left alone.
#   T=name      only the tests in tests/name.rs or tests/name/, or else those whose name contains it
#   ENGINE=name only with this engine, ruvector or pgvector
#   ARGS='…'    more arguments to the test programs, such as --nocapture
source "$(dirname "$0")/lib.sh"

[[ ${ENGINE:-ruvector} =~ ^(ruvector|pgvector)$ ]] || die "there is no engine $ENGINE: ruvector or pgvector"
scripts/deps.sh
scripts/ruvector.sh
scripts/pgvector.sh
scripts/drivers.sh
scripts/build.sh
scripts/build.sh pg_test

TMPDIR=$(open_tmp)
export TMPDIR
dir=$(mktemp -d "$TMPDIR/vcache-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
scripts/prefix.sh "$dir/pg"
cp tests/versions/*.sql "$dir/pg$pg_share/extension/" # what tests/upgrade.rs starts from
scripts/prefix.sh "$dir/pg-test" pg_test
export VCACHE_PG_PREFIX=$dir/pg VCACHE_PG_TEST_PREFIX=$dir/pg-test VCACHE_DRIVERS=$target/drivers

# The test programs in which the engine matters: they run once with each, the others with RuVector.
with_each_engine=(access checker drivers filters namespaces observe preload row_security search stats upgrade)

read -ra args <<<"${ARGS:-}"
all=(-p vcache-core -p vcache-tests)
each=(-p vcache-tests "${with_each_engine[@]/#/--test=}")
if [[ -n ${T:-} && (-f tests/$T.rs || -f tests/$T/main.rs) ]]; then
    all=(-p vcache-tests --test "$T")
    each=("${all[@]}")
    [[ " ${with_each_engine[*]} " == *" $T "* ]] || each=()
elif [[ -n ${T:-} ]]; then
    args=("$T" "${args[@]}")
fi

status=0
run_with() {
    say "running the tests with $1"
    VCACHE_TEST_ENGINE=$1 cargo test --no-fail-fast "${@:2}" -- "${args[@]}" 2>&1 | tee -a "$dir/log" || status=$?
}
[[ ${ENGINE:-ruvector} != ruvector ]] || run_with ruvector "${all[@]}"
[[ ${ENGINE:-pgvector} != pgvector ]] || ((${#each[@]} == 0)) || run_with pgvector "${each[@]}"

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
