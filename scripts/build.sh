#!/usr/bin/env bash
# Builds vcache and stages it in target/stage/vcache-pg15: lib/ and extension/.
#   scripts/build.sh [pg_test|fault-NAME]      pg_test: with its #[pg_test]s, in target/stage/vcache-pg15-test
#                                              fault-NAME: with that fault, for the tests to find, in …/vcache-pg15-fault-NAME
source "$(dirname "$0")/lib.sh"

[[ ${1:-pg_test} == pg_test || $1 == fault-* ]] || die "usage: scripts/build.sh [pg_test|fault-NAME]"
[[ -x $cargo_pgrx ]] || die "cargo-pgrx is missing: run scripts/deps.sh"
out=$(stage_of "${1:-}")
what="vcache${1:+ with $1}"

# cargo keeps one library, and compiles it anew whenever the other of the two is asked for: whether that is needed is for us to know.
sources() {
    find Cargo.toml Cargo.lock vcache.control src sql crates -name fuzz -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum
    rustc --version
    pg_version
    echo "pgrx $pgrx_version, RUSTFLAGS ${RUSTFLAGS:-}"
}

take_turns build
stamp=$(sources | sha256sum)
if [[ -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
    say "$what is built"
    exit
fi

say "building $what"
rm -rf "$out.package" "$out.new"
package() {
    "$cargo_pgrx" pgrx package --pg-config "$pg_config" --out-dir "$out.package" ${1:+--features "$1"} >/dev/null 9>&-
}
# It writes colours into files as well.
if [[ -t 2 ]]; then package "$@"; else package "$@" 2>&1 | sed -u $'s/\e\\[[0-9;]*m//g' >&2; fi

mkdir -p "$out.new"
mv "$out.package$pg_home/lib" "$out.package$pg_share/extension" "$out.new/"
printf '%s\n' "$stamp" >"$out.new/stamp"
rm -rf "$out.package"
replace_dir "$out.new" "$out"
