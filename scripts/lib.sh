# shellcheck shell=bash disable=SC2034 # what is not used here is used by them
# What the scripts share: where things are, messages that show the time passing, and who runs what.
# Each sources it first, and is then at the top of the tree.

set -euo pipefail
umask 022 # the servers' user must be able to read what is built here

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$root/$target
stage=$target/stage
export CARGO_TARGET_DIR=$target
export PATH=$PATH:/usr/sbin:/sbin # which a root by `su` does not have

pg_major=15
pg_home=/usr/lib/postgresql/$pg_major
pg_share=/usr/share/postgresql/$pg_major
pg_config=$pg_home/bin/pg_config
pgrx_version=0.18.1
cargo_pgrx=$target/tools/bin/cargo-pgrx

# pgrx looks here instead of ~/.pgrx. The same values everywhere, or cargo would build pgrx again and again.
export PGRX_PG_CONFIG_PATH=$pg_config PGRX_HOME=$target/pgrx

# The caller's own servers are none of our business.
for name in "${!PG@}"; do [[ $name == PGRX_* ]] || unset "$name"; done
unset name REDISCLI_AUTH
# Nor is this for our servers: errors that pass through Rust would carry a trace of it.
unset RUST_BACKTRACE

export VCACHE_STARTED=${VCACHE_STARTED:-$(date +%s)}

say() {
    local passed=$(($(date +%s) - VCACHE_STARTED))
    printf '[%2d:%02d] %s\n' $((passed / 60)) $((passed % 60)) "$*"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# PostgreSQL refuses to run as root, so root's servers run as the account of Debian's package.
server_user() {
    if ((EUID == 0)); then echo postgres; else id -un; fi
}

# From /, because the servers' user may not be allowed to enter the checkout.
as_server() (
    cd /
    exec 9>&- # see take_turns
    if ((EUID == 0)); then exec runuser -u postgres -- "$@"; else exec "$@"; fi
)

# Where the servers' user may make files: TMPDIR, unless it is closed to it or would make the names of sockets too long.
open_tmp() {
    local tmp
    for tmp in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        if ((${#tmp} <= 50)) && as_server test -w "$tmp"; then
            echo "$tmp"
            return
        fi
    done
    die "the servers' user may write neither in ${TMPDIR:-/tmp} nor in /var/tmp"
}

# Where vcache is staged, built with a feature or with none.
stage_of() {
    local suffix=${1:+-$1}
    echo "$stage/vcache-pg$pg_major${suffix/#-pg_test/-test}"
}

pg_version() {
    "$pg_config" --version 2>/dev/null || die "PostgreSQL $pg_major is not installed: run scripts/deps.sh"
}

# One at a time: two builds in one target directory would take each other's library. The lock goes when the last process that has
# descriptor 9 ends, so what may leave something running (cargo does, with a compiler cache) is not given it.
take_turns() {
    mkdir -p "$target"
    exec 9>"$target/.$1.lock"
    flock -n 9 || {
        say "waiting for another run of $1"
        flock 9
    }
}

# Puts a file in place by a rename: a running server may have the old one mapped. $3: as_root, or nothing.
put_file() {
    ${3:-} install -m 644 "$1" "$2.new.$$"
    ${3:-} mv -f "$2.new.$$" "$2"
}

# Makes directory $2 what $1 is, at once.
replace_dir() {
    rm -rf "$2.old"
    [[ ! -e $2 ]] || mv "$2" "$2.old"
    mv "$1" "$2"
    rm -rf "$2.old"
}
