#!/usr/bin/env bash
# The demo: installs what is missing, builds the extension, installs it into a copy of the system's PostgreSQL, starts that and a Redis of its own, and
# shows what the cache does. The servers stay up until scripts/stop.sh, which removes the copy as well.
source "$(dirname "$0")/lib.sh"
source scripts/servers.sh

scripts/deps.sh
scripts/ruvector.sh
scripts/build.sh
say "building the demo"
cargo build --release -p vcache-demo
take_turns demo
scripts/stop.sh

dir=$(as_server mktemp -d "$(open_tmp)/vcache-demo.XXXXXX")
tree=$(mktemp -d "$(open_tmp)/vcache-demo-pg.XXXXXX")
port=28815 # a part of the socket's name
printf 'dir=%q\ntree=%q\nuser=%q\n' "$dir" "$tree" "$(server_user)" >"$target/demo.env"

undo() {
    show_logs "$dir"
    scripts/stop.sh
}
trap undo EXIT

say "installing RuVector and vcache into a copy of PostgreSQL in $tree"
chmod 755 "$tree"
scripts/prefix.sh "$tree"

say "starting PostgreSQL and Redis in $dir"
start_servers "$dir" "$port" "$tree$pg_home" "cluster_name = 'vcache-demo'
shared_buffers = 256MB"

say "running the demo"
"$target/release/vcache-demo" --host "$dir" --port "$port" --user postgres --dbname vcache_demo
trap - EXIT

say "done; both servers are still up"
cat <<TEXT

  psql -h $dir -p $port -U postgres vcache_demo
  redis-cli -s $dir/redis.sock
  make stop

The tour in README.md wants a database of its own: in psql, CREATE DATABASE tour; and then \c tour
TEXT
