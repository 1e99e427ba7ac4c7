#!/usr/bin/env bash
# Installs what is missing to build and run vcache on Debian: packages, and cargo-pgrx in target/tools.
#   scripts/deps.sh [lint]      lint: what scripts/lint.sh needs, too
# Starts no server and leaves those that run alone.
source "$(dirname "$0")/lib.sh"

command -v cargo >/dev/null || die "there is no cargo on PATH: install Rust 1.95 or newer, see https://rustup.rs"
command -v dpkg-query >/dev/null || die "this script knows Debian's packages only"
take_turns deps

packages=("postgresql-$pg_major" "postgresql-server-dev-$pg_major" redis-server libc-ares-dev libclang-dev pkg-config build-essential ca-certificates
    pgbouncer python3-venv openssl) # which are for the tests and the bench
[[ ${1:-} != lint ]] || packages+=(shellcheck)
missing=()
for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed* ]] || missing+=("$package")
done

# Debian's packages create a cluster and start services when they are installed. While ours are, two files say no:
# one to postgresql-common, one to the start of services, which asks whoever was there before about other ones.
no_cluster=/etc/postgresql-common/createcluster.d/zz-vcache.conf
policy=/usr/sbin/policy-rc.d

forbid_servers() {
    as_root mkdir -p "${no_cluster%/*}"
    as_root tee "$no_cluster" >/dev/null <<<"create_main_cluster = false"
    # One of ours may be left of a run that was killed.
    [[ ! -e $policy ]] || grep -q vcache "$policy" || as_root mv "$policy" "$policy.before-vcache"
    as_root tee "$policy" >/dev/null <<SH
#!/bin/sh
# Written by vcache's scripts/deps.sh, which removes it.
for word; do
    case \$word in postgresql* | redis* | pgbouncer*) exit 101 ;; esac
done
[ ! -x $policy.before-vcache ] || exec $policy.before-vcache "\$@"
SH
    as_root chmod 755 "$policy"
}

allow_servers() {
    as_root rm -f "$no_cluster" "$policy"
    as_root rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
    [[ ! -e $policy.before-vcache ]] || as_root mv "$policy.before-vcache" "$policy"
}

if ((${#missing[@]})); then
    say "installing packages: ${missing[*]}"
    trap allow_servers EXIT
    forbid_servers
    apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -o DPkg::Lock::Timeout=300)
    as_root "${apt[@]}" update
    as_root "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null
    trap - EXIT
    allow_servers
    for service in redis-server pgbouncer; do
        [[ " ${missing[*]} " == *" $service "* ]] || continue
        as_root update-rc.d "$service" disable
        say "the package's service $service is off: 'systemctl enable --now $service' if you want it"
    done
fi
pg_version >/dev/null

right_version() {
    [[ $("$1" pgrx --version 2>/dev/null) == "cargo-pgrx $pgrx_version" ]]
}

if ! right_version "$cargo_pgrx"; then
    if own=$(command -v cargo-pgrx) && right_version "$own"; then
        mkdir -p "${cargo_pgrx%/*}"
        ln -sf "$own" "$cargo_pgrx"
    else
        say "building cargo-pgrx $pgrx_version (a few minutes)"
        # It runs for seconds, so it is not worth optimising; and it shall download nothing for us, so it does without OpenSSL.
        PATH=${cargo_pgrx%/*}:$PATH CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
            cargo install cargo-pgrx --version "$pgrx_version" --locked --force --no-default-features \
            --root "$target/tools" --target-dir "$target/tools/build" 9>&-
        rm -rf "$target/tools/build"
    fi
fi

# pgrx builds its bindings anew each time if its directory is there without this file.
if [[ ! -f $PGRX_HOME/config.toml ]]; then
    mkdir -p "$PGRX_HOME"
    printf '[configs]\npg%s = "%s"\n' "$pg_major" "$pg_config" >"$PGRX_HOME/config.toml"
fi
