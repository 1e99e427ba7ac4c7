#!/usr/bin/env bash
# Installs the staged RuVector and vcache into the system's PostgreSQL: what differs, nothing else.
source "$(dirname "$0")/lib.sh"

take_turns install
changed=0
install_into() {
    local dir=$1 file
    shift
    for file; do
        [[ -f $file ]] || die "nothing is staged in ${file%/*}: run scripts/ruvector.sh and scripts/build.sh"
        cmp -s "$file" "$dir/${file##*/}" && continue
        say "installing $dir/${file##*/}"
        put_file "$file" "$dir/${file##*/}" as_root
        changed=1
    done
}

for name in "ruvector-pg$pg_major" "vcache-pg$pg_major"; do
    install_into "$("$pg_config" --pkglibdir)" "$stage/$name"/lib/*
    install_into "$("$pg_config" --sharedir)/extension" "$stage/$name"/extension/*
done
if ((changed)); then
    say "installed; restart servers that have vcache in shared_preload_libraries"
else
    say "RuVector and vcache are installed in $pg_home"
fi
