#!/usr/bin/env bash
# Ends the demo's servers and removes what they wrote. Harmless if there are none.
source "$(dirname "$0")/lib.sh"

state=$target/demo.env
[[ -f $state ]] || exit 0
dir='' user=''
# shellcheck source=/dev/null
source "$state"
[[ $dir == */vcache-demo.?* ]] || die "$state does not name a directory of the demo"
[[ $user == "$(server_user)" ]] || die "the demo's servers run as $user: stop them as the user who ran the demo"

say "stopping the demo's servers"
if as_server test -e "$dir/data/postmaster.pid"; then
    as_server "$pg_home/bin/pg_ctl" --pgdata "$dir/data" --silent --mode fast stop ||
        as_server "$pg_home/bin/pg_ctl" --pgdata "$dir/data" --silent --mode immediate stop || true
fi
if as_server test -S "$dir/redis.sock"; then
    as_server redis-cli -s "$dir/redis.sock" shutdown nosave || true
fi
as_server rm -rf "$dir"
rm -f "$state"
