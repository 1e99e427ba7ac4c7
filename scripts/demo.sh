#!/usr/bin/env bash
# The demo: installs what is missing, builds and installs the extension, starts a PostgreSQL and a Redis of its own, and shows what the cache does.
# The servers stay up until scripts/stop.sh.
source "$(dirname "$0")/lib.sh"
source scripts/servers.sh

scripts/deps.sh
scripts/ruvector.sh
scripts/build.sh
say "building the demo"
cargo build --release -p vcache-demo
take_turns demo
scripts/stop.sh
scripts/install.sh

dir=$(as_server mktemp -d "$(open_tmp)/vcache-demo.XXXXXX")
port=28815 # a part of the socket's name
printf 'dir=%q\nuser=%q\n' "$dir" "$(server_user)" >"$target/demo.env"

undo() {
    show_logs "$dir"
    scripts/stop.sh
}
trap undo EXIT

say "starting PostgreSQL and Redis in $dir"
start_servers "$dir" "$port" "$pg_home" "cluster_name = 'vcache-demo'
shared_buffers = 256MB"

say "running the demo"
"$target/release/vcache-demo" --host "$dir" --port "$port" --user postgres --dbname vcache_demo
trap - EXIT

say "done; both servers are still up"
cat <<TEXT

  psql -h $dir -p $port -U postgres vcache_demo
  redis-cli -s $dir/redis.sock
  make stop
TEXT
