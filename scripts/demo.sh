#!/usr/bin/env bash
# The demo: installs what is missing, builds and installs the extension, starts a PostgreSQL and a Redis of its own, and shows what the cache does.
# The servers stay up until scripts/stop.sh.
source "$(dirname "$0")/lib.sh"

scripts/deps.sh
scripts/ruvector.sh
scripts/build.sh
say "building the demo"
cargo build --release -p vcache-demo
take_turns demo
scripts/stop.sh
scripts/install.sh

# Nobody but their user and root can enter this directory, so the sockets in it need no password; neither server has a TCP port.
dir=$(as_server mktemp -d "$(open_tmp)/vcache-demo.XXXXXX")
port=28815 # a part of the socket's name
printf 'dir=%q\nuser=%q\n' "$dir" "$(server_user)" >"$target/demo.env"

undo() {
    as_server tail -n 20 "$dir/postgresql.log" "$dir/redis.log" >&2 2>/dev/null || true
    scripts/stop.sh
}
trap undo EXIT

say "starting PostgreSQL and Redis in $dir"
as_server redis-server --port 0 --unixsocket "$dir/redis.sock" --dir "$dir" --logfile "$dir/redis.log" \
    --save '' --appendonly no --daemonize yes >/dev/null
as_server "$pg_home/bin/initdb" --pgdata "$dir/data" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync >/dev/null
as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF

# Added for the demo.
listen_addresses = ''
port = $port
unix_socket_directories = '$dir'
cluster_name = 'vcache-demo'
shared_buffers = 256MB
fsync = off                     # its data may be lost
jit = off                       # compiling takes longer than such queries
shared_preload_libraries = 'vcache'
vcache.redis_url = 'redis+unix://$dir/redis.sock'
CONF
as_server "$pg_home/bin/pg_ctl" --pgdata "$dir/data" --log "$dir/postgresql.log" --wait --silent start

say "running the demo"
"$target/release/vcache-demo" --host "$dir" --port "$port" --user postgres --dbname vcache_demo
trap - EXIT

say "done; both servers are still up"
cat <<TEXT

  psql -h $dir -p $port -U postgres vcache_demo
  redis-cli -s $dir/redis.sock
  make stop
TEXT
