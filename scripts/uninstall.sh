#!/usr/bin/env bash
# Removes what scripts/install.sh has put into the system's PostgreSQL: vcache's files.
#   scripts/uninstall.sh [ruvector]      ruvector: RuVector's as well, without which tables with its vectors cannot be read
source "$(dirname "$0")/lib.sh"

[[ ${1:-ruvector} == ruvector ]] || die "usage: scripts/uninstall.sh [ruvector]"
take_turns install
lib=$("$pg_config" --pkglibdir)
extension=$("$pg_config" --sharedir)/extension
for name in vcache "$@"; do
    for file in "$lib/$name.so" "$extension/$name.control" "$extension/$name"--*.sql; do
        [[ -e $file ]] || continue
        say "removing $file"
        as_root rm "$file"
    done
done
say "done; a server that still has vcache in shared_preload_libraries will not start again"
[[ ${1:-} == ruvector ]] || say "RuVector stays, for tables that hold its vectors: 'scripts/uninstall.sh ruvector' removes it as well"
