# shellcheck shell=bash
# Starting and stopping a PostgreSQL and a Redis of one's own, for scripts that have sourced lib.sh. Both run as the servers' user in
# one directory, that nobody else but root can enter: the sockets in it need no password, and neither server has a TCP port.

# start_servers DIR PORT HOME [CONF]: the port is a part of the socket's name; HOME is PostgreSQL's, CONF more lines of its
# configuration.
start_servers() {
    local dir=$1 port=$2 home=$3 more=${4:-}
    as_server redis-server --port 0 --unixsocket "$dir/redis.sock" --dir "$dir" --logfile "$dir/redis.log" \
        --save '' --appendonly no --daemonize yes >/dev/null
    as_server "$home/bin/initdb" --pgdata "$dir/data" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync >/dev/null
    as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF

# Added for ${dir##*/}.
listen_addresses = ''
port = $port
unix_socket_directories = '$dir'
fsync = off                     # its data may be lost
jit = off                       # compiling takes longer than such queries
shared_preload_libraries = 'vcache'
vcache.redis_url = 'redis+unix://$dir/redis.sock'
$more
CONF
    as_server "$home/bin/pg_ctl" --pgdata "$dir/data" --log "$dir/postgresql.log" --wait --silent start
}

# stop_servers DIR HOME: ends them, whatever of them runs, and removes the directory.
stop_servers() {
    local dir=$1 home=$2
    if as_server test -e "$dir/data/postmaster.pid"; then
        as_server "$home/bin/pg_ctl" --pgdata "$dir/data" --silent --mode fast stop ||
            as_server "$home/bin/pg_ctl" --pgdata "$dir/data" --silent --mode immediate stop || true
    fi
    if as_server test -S "$dir/redis.sock"; then
        as_server redis-cli -s "$dir/redis.sock" shutdown nosave || true
    fi
    as_server rm -rf "$dir"
}

# The ends of both logs, to explain a failure.
show_logs() {
    as_server tail -n 20 "$1/postgresql.log" "$1/redis.log" >&2 2>/dev/null || true
}
