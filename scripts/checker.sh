#!/usr/bin/env bash
# The long run of tests/checker: for an hour with each engine, and, so that it is known to find something, against vcache with each of its planted
# faults in turn; those of privileges are for tests/matrix to find. At last tests/shared: sessions that are ended, and the memory of one that calls.
#   SECONDS_EACH=n   how long with each engine (3600)
#   FAULTS='…'       which faults (all)
#   ENDS=n           how many cancels and terminations in each test of them (100000)
#   CALLS=n          how many calls of one session (1000000)
source "$(dirname "$0")/lib.sh"

seconds=${SECONDS_EACH:-3600}
faults=${FAULTS-no-clock no-shape no-mark counter no-privileges no-scope}
scripts/deps.sh
scripts/ruvector.sh
scripts/pgvector.sh
scripts/build.sh

TMPDIR=$(open_tmp)
export TMPDIR
dir=$(mktemp -d "$TMPDIR/vcache-checker.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"

check() {
    scripts/prefix.sh "$dir/pg" "${feature:-}"
    # All at the same time: each goes on for as long as it is told.
    VCACHE_PG_PREFIX=$dir/pg cargo test -p vcache-tests --test "${program:-checker}" -- --test-threads=8 "$@" 9>&-
    rm -rf "$dir/pg"
}

for fault in $faults; do
    scripts/build.sh "fault-$fault"
    case $fault in no-privileges | no-scope) program=matrix ;; *) program=checker ;; esac
    say "the $program against vcache with the fault $fault"
    feature=fault-$fault VCACHE_FAULT=$fault program=$program check --ignored
done
for engine in ruvector pgvector; do
    ((seconds)) || break
    say "the checker with $engine: $seconds s"
    VCACHE_TEST_ENGINE=$engine VCACHE_CHECK_SECONDS=$seconds check
done
say "the tests of shared memory: ${ENDS:-100000} ends, ${CALLS:-1000000} calls"
scripts/prefix.sh "$dir/pg"
VCACHE_PG_PREFIX=$dir/pg VCACHE_ENDS=${ENDS:-100000} VCACHE_CALLS=${CALLS:-1000000} \
    cargo test -p vcache-tests --test shared -- backends memory:: 9>&-
say "done"
