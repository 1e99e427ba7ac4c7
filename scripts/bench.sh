#!/usr/bin/env bash
# Measures the cache against no cache and against one made by hand, on servers of its own, and writes bench/results.
#   ARGS='…'    arguments for bench/run.py, such as --quick or --only hits outage
source "$(dirname "$0")/lib.sh"
source scripts/servers.sh

scripts/deps.sh
scripts/ruvector.sh
scripts/pgvector.sh
scripts/build.sh
scripts/drivers.sh
cargo build --release --quiet -p vcache-hit

take_turns bench
tree=$(mktemp -d "$(open_tmp)/vcache-bench-pg.XXXXXX")
home=$tree$pg_home
dir=
undo() {
    [[ -z $dir ]] || stop_servers "$dir" "$home"
    rm -rf "$tree"
}
trap undo EXIT
chmod 755 "$tree"
scripts/prefix.sh "$tree"

# Client and servers on one processor: they take turns anyway, and in a virtual machine to wake one on another processor costs more than
# all of a hit's work.
taskset --pid --cpu-list 0 $$ >/dev/null
read -ra args <<<"${ARGS:-}"
# What is measured of Redis is measured without tier 1, which would answer in its place.
for memory in 0 512MB; do
    say "starting PostgreSQL and Redis, with $memory of shared memory for entries"
    dir=$(as_server mktemp -d "$(open_tmp)/vcache-bench.XXXXXX")
    start_servers "$dir" 28816 "$home" "shared_buffers = 2GB
vcache.shared_memory_size = $memory
maintenance_work_mem = 1GB
max_parallel_workers_per_gather = 0 # one core for each search: the others are others'
autovacuum = off
max_connections = 600"
    # The client runs as the caller, and the directory is the servers' alone.
    as_server chmod 755 "$dir"
    as_server chmod 777 "$dir/redis.sock"
    say "measuring"
    "$target/drivers/python/bin/python" bench/run.py --host "$dir" --port 28816 --redis "$dir/redis.sock" --hit "$target/release/vcache-hit" \
        --programs "$home/bin" --shared-memory "$memory" \
        --commit "$(git describe --always --dirty 2>/dev/null || echo unknown)" "${args[@]}" || {
        show_logs "$dir"
        exit 1
    }
    stop_servers "$dir" "$home"
    dir=
done
say "measured"
