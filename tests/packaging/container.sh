#!/bin/bash
# Carries out the steps of a Containerfile in a chroot, runs the result as an engine would (another user, a read-only
# file system, no capabilities) and uses it. test_container.py translates the steps.
#
#     tests/packaging/container.sh DEBIAN CONTEXT STEPS COMMAND HEALTHCHECK
set -euo pipefail
. "$(dirname "$0")/machine.sh"
context=$2 steps=$3 command=$4 healthcheck=$5
enter "$1"
registries
variables=() user=0:0 workdir=/

stage() { current=/stages/$1; inside root "mkdir -p $current"; }

copy() { # FROM OWNER MODE SOURCE... TARGET
    local from=$1 owner=$2 mode=$3 target=${*: -1}
    shift 3
    for source in "${@:1:$#-1}"; do
        if [ -n "$from" ]; then
            inside root "mkdir -p \$(dirname $current$target) && cp -a /stages/$from$source $current$target"
        else
            for file in $context/$source; do
                local place=$target
                [ "${target%/}" = "$target" ] || place=$target$(basename "$file")
                inside root "mkdir -p $current$(dirname "$place")"
                put "$file" "$current$place"
            done
        fi
    done
    inside root "chown -R $owner $current$target${mode:+ && chmod $mode $current$target}"
}

execute() { # COMMAND of a RUN: as root, with what the stage has in /opt and /build
    local enter="for place in opt build; do mkdir -p /\$place $current/\$place; mount --bind $current/\$place /\$place; done"
    inside root "unshare --mount bash -ec $(printf %q "$enter; $1")" >&2
}

env() { variables+=("$@"); }
user() { user=$1; }
workdir() { workdir=$1; }

as_engine() { # COMMAND: as the image's user, without capabilities; all is read-only but the volume and /tmp
    local enter="mount --bind $workdir $workdir; mount -o remount,ro,bind /; cd $workdir"
    local drop="setpriv --reuid ${user%:*} --regid ${user#*:} --clear-groups --no-new-privs --bounding-set=-all"
    inside root "exec env -i ${variables[*]} HOME=/ unshare --mount bash -ec $(printf %q "$enter; exec $drop $1")"
}

. "$steps"

# The last stage on the Debian, as an engine lays its layers on the image.
inside root "cp -a $current/. /"
inside root "du -sb $current | sed 's/\t.*//; s/^/unpacked: /'; tar -C $current -cz . | wc -c | sed 's/^/compressed: /'"
as_engine "$command" > "$context/log" 2>&1 &
server=$!
until health=$(as_engine "$healthcheck" 2>&1); do
    kill -0 $server || { cat "$context/log" >&2; exit 1; }
    sleep 0.3
done
echo "health: $health"
token=$(as_engine 'fingertrio token add ada' 2>&1 | grep -o 'ft_[a-z0-9]*' | head -1)
as_engine "env FINGERTRIO_TOKEN=$token fingertrio set --url http://127.0.0.1:8000 gone fishing" > /dev/null
echo "status: $(as_engine 'fingertrio finger ada@127.0.0.1:7979' | tail -1)"
echo "user: $(inside root 'stat -c %u /proc/$(pgrep -of "fingertrio serve")')"
echo "write: $(as_engine 'touch /opt/fingertrio/x' 2>&1 || true)"
