#!/usr/bin/env bash
# Builds the engine pgvector from the source package of Debian 13 and stages it in target/stage/pgvector-pg15: lib/ and extension/.
# The source comes through the mirror and the proxy that this machine's apt uses, and counts only with the signature of Debian's
# archive. apt's lists and caches for it are the script's own: the machine's stay as they are.
source "$(dirname "$0")/lib.sh"

version=0.8.0
suite=trixie
work=$target/pgvector
out=$stage/pgvector-pg$pg_major
stamp="pgvector $version for $(pg_version)"

take_turns pgvector
if [[ -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
    say "pgvector is built: $stamp"
    exit
fi

# What apt is to do otherwise than the machine's configuration says.
apt=$work/apt
write_apt_conf() {
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::Retries "3";
// Its own account may be shut out of the directories above this one.
APT::Sandbox::User "root";
// What runs after an update is for the machine's lists.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
}

# Fetches Debian's list of sources from mirror $1, and the archive of pgvector's.
fetch_from() {
    local found
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $1 $suite main" >"$apt/sources.list"
    apt-get -q -c "$apt/conf" --error-on=any update || return
    found=$(apt-cache -c "$apt/conf" showsrc --only-source pgvector | awk '/^Version: / { print $2 }' | grep -E "^$version-" | tail -n 1) || {
        echo "$1 has no pgvector $version in $suite"
        return 1
    }
    (cd "$work" && apt-get -q -c "$apt/conf" source --only-source --download-only --tar-only "pgvector=$found")
}

# Tries every repository that apt is configured with, in its order: which of them is a mirror of Debian shows by what it has, signed.
fetch() {
    local mirror
    local -a mirrors
    # Lines such as 'http://HOST/debian/dists/bookworm/InRelease' NAME 0, fetched or not.
    mapfile -t mirrors < <(apt-get --print-uris update | sed -n "s|^'\(.*\)/dists/.*|\1|p" | awk '!seen[$0]++')
    write_apt_conf
    local -x TMPDIR=$apt # where apt looks at signatures
    for mirror in "${mirrors[@]}"; do
        fetch_from "$mirror" && return
    done >"$work/log" 2>&1
    cat "$work/log" >&2
    die "none of apt's repositories has the source of pgvector $version, signed by Debian: ${mirrors[*]:-there are none}"
}

source=$work/pgvector-$version
if [[ ! -f $source/Makefile ]]; then
    say "fetching the source of pgvector $version"
    mkdir -p "$work"
    rm -f "$work"/pgvector_*
    fetch
    rm -rf "$source.new"
    mkdir "$source.new"
    tar -x --strip-components=1 -C "$source.new" -f "$work"/pgvector_"$version".orig.tar.*
    mv "$source.new" "$source"
    rm -rf "$apt" "$work/log"
fi

say "building pgvector"
# For any processor of this kind, not for this one; and without the bitcode for PostgreSQL's just-in-time compiler, which would need clang.
make=(make --silent -C "$source" "PG_CONFIG=$pg_config" OPTFLAGS= with_llvm=no)
rm -rf "$work/install" "$out.new"
"${make[@]}" clean 9>&-
"${make[@]}" 9>&-
"${make[@]}" "DESTDIR=$work/install" install 9>&-

mkdir -p "$out.new/lib" "$out.new/extension"
cp "$work/install$pg_home/lib/vector.so" "$out.new/lib/"
cp "$work/install$pg_share/extension"/vector* "$out.new/extension/"
printf '%s\n' "$stamp" >"$out.new/stamp"
replace_dir "$out.new" "$out"
rm -rf "$work/install"
say "pgvector is staged"
