#!/usr/bin/env bash
# Ends the demo's servers and removes what they wrote. Harmless if there are none.
source "$(dirname "$0")/lib.sh"
source scripts/servers.sh

state=$target/demo.env
[[ -f $state ]] || exit 0
dir='' tree='' user=''
# shellcheck source=/dev/null
source "$state"
[[ $dir == */vcache-demo.?* && ($tree == */vcache-demo-pg.?* || -z $tree) ]] || die "$state does not name the directories of a demo"
[[ $user == "$(server_user)" ]] || die "the demo's servers run as $user: stop them as the user who ran the demo"

say "stopping the demo's servers"
stop_servers "$dir" "$tree$pg_home"
rm -rf "$tree"
rm -f "$state"
