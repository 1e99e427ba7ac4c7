#!/usr/bin/env bash
# Starts a Redis for vcache where REDIS_HOST, REDIS_PORT and REDIS_PASSWORD say (127.0.0.1:6379 without a password), unless one answers
# there, and prints PONG when it does. It keeps nothing on disk and evicts what was least recently used beyond REDIS_MAXMEMORY (256mb).
# Root's runs as the account postgres, as all servers do that the scripts start.
#   scripts/start_redis.sh          end it with: redis-cli -p PORT shutdown nosave
source "$(dirname "$0")/lib.sh"

host=${REDIS_HOST:-127.0.0.1}
port=${REDIS_PORT:-6379}
maxmemory=${REDIS_MAXMEMORY:-256mb}
# redis-cli reads the password there, so that it stands in no list of processes.
export REDISCLI_AUTH=${REDIS_PASSWORD:-}
[[ -n $REDISCLI_AUTH ]] || unset REDISCLI_AUTH

ping() {
    redis-cli -h "$host" -p "$port" ping 2>/dev/null
}

for program in redis-server redis-cli; do
    command -v "$program" >/dev/null || {
        echo "error: there is no $program on PATH: install Debian's package redis-server" >&2
        exit 1
    }
done

if [[ $(ping || true) != PONG ]]; then
    quoted=${REDIS_PASSWORD:-}
    quoted=${quoted//\\/\\\\}
    quoted=${quoted//\"/\\\"}
    # The password comes by standard input, for the same reason.
    printf '%s\n' "bind $host" "port $port" 'save ""' "maxmemory $maxmemory" "maxmemory-policy allkeys-lru" \
        "daemonize yes" ${REDIS_PASSWORD:+"requirepass \"$quoted\""} | as_server redis-server - >/dev/null
fi
for _ in {1..50}; do
    if [[ $(ping || true) == PONG ]]; then
        echo "redis://$host:$port answers:"
        echo PONG
        exit
    fi
    sleep 0.1
done
echo "error: Redis at $host:$port does not answer PING: $(redis-cli -h "$host" -p "$port" ping 2>&1 || true)" >&2
exit 1
