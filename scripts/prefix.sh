#!/usr/bin/env bash
# Makes a copy of the system's PostgreSQL in a directory, with the staged extensions in it, so that tests and the demo leave the system's
# alone:
#   scripts/prefix.sh /DIR [pg_test]     pg_test: vcache with its #[pg_test]s
# PostgreSQL finds its directories relative to its program, so the programs are copied and the rest are links.
source "$(dirname "$0")/lib.sh"

[[ ${1:-} == /* && ${2:-pg_test} == pg_test ]] || die "usage: scripts/prefix.sh /DIR [pg_test]"
dir=$1
vcache=vcache-pg$pg_major${2:+-test}
lib=$dir$pg_home/lib
extension=$dir$pg_share/extension

mkdir -p "$dir$pg_home/bin" "$lib" "$extension"
cp -a "$pg_home/bin/." "$dir$pg_home/bin/"
cp -rsf "$pg_home/lib/." "$lib/"
cp -rsf "$pg_share/." "$dir$pg_share/"
# The system may have others of ours.
find "$lib" "$extension" -maxdepth 1 -type l \( -name 'vcache[.-]*' -o -name 'ruvector[.-]*' -o -name 'vector[.-]*' \) -delete

staged=("$vcache" "ruvector-pg$pg_major")
[[ ! -d $stage/pgvector-pg$pg_major ]] || staged+=("pgvector-pg$pg_major") # which the demo does without
for name in "${staged[@]}"; do
    [[ -d $stage/$name ]] || die "$name is not built: run scripts/build.sh and scripts/ruvector.sh"
    for file in "$stage/$name"/lib/*; do put_file "$file" "$lib/${file##*/}"; done
    for file in "$stage/$name"/extension/*; do put_file "$file" "$extension/${file##*/}"; done
done

found=$("$dir$pg_home/bin/pg_config" --pkglibdir)
[[ $found -ef $lib ]] || die "PostgreSQL in $dir does not find its libraries there but in $found"
