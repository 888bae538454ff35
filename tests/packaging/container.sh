#!/bin/bash
# Carries out the steps of the Containerfile in a clean Debian, runs the result as an engine would (another root, another
# user, a read-only file system, no capabilities) and uses it. test_container.py translates the steps.
#
#     tests/packaging/container.sh DEBIAN CONTEXT STEPS COMMAND HEALTHCHECK
set -euo pipefail
. "$(dirname "$0")/machine.sh"
context=$2 steps=$3 command=$4 healthcheck=$5
enter "$1"
registries
image=/image-of-the-test
variables=() user=0:0 workdir=/ current=

# The stage that builds is the machine itself; the last stage is a directory in it.
stage() { current=; [ "$1" != final ] || current=$image; inside root "mkdir -p /$current"; }

copy() { # FROM MODE SOURCE... TARGET
    local from=$1 mode=$2 target=${*: -1}
    shift 2
    if [ -n "$from" ]; then
        inside root "cp -a $1/. $current$target"
        return
    fi
    for source in "${@:1:$#-1}"; do
        for file in $context/$source; do
            local place=$current$target
            [ "${target%/}" = "$target" ] || place+=$(basename "$file")
            inside root "mkdir -p $(dirname "$place")"
            put "$file" "$place"
            [ -z "$mode" ] || inside root "chmod $mode $place"
        done
    done
}

execute() { inside root "$1" >&2; }
env() { variables+=("$@"); }
user() { user=$1; }
workdir() { workdir=$1; }

as_engine() { # COMMAND: in the image alone, read-only but for the volume and /tmp
    local enter="mount --bind $image $image; mount -o remount,ro,bind $image; mount --bind /volume $image$workdir
        mount -t tmpfs tmpfs $image/tmp; mount --bind /dev $image/dev; mount --bind /proc $image/proc"
    local change="/usr/sbin/chroot --userspec=$user --groups= $image"
    inside root "unshare --mount bash -ec $(printf %q "$enter; exec env -i ${variables[*]} /usr/bin/setpriv --no-new-privs $change $1")"
}

. "$steps"

inside root "cp -a $image$workdir /volume"
inside root "du -sb $image | sed 's/\t.*//; s/^/unpacked: /'; tar -C $image -cz . | wc -c | sed 's/^/compressed: /'"
as_engine "$command" > "$context/log" 2>&1 &
server=$!
until health=$(as_engine "$healthcheck" 2>&1); do
    kill -0 $server || { cat "$context/log" >&2; exit 1; }
    sleep 0.3
done
echo "health: $health"
token=$(as_engine 'fingertrio token add ada' 2>&1 | grep -o 'ft_[a-z0-9]*' | head -1)
variables+=("FINGERTRIO_TOKEN=$token")
as_engine 'fingertrio set --url http://127.0.0.1:8000 gone fishing' > /dev/null
echo "status: $(as_engine 'fingertrio finger ada@127.0.0.1:7979' | tail -1)"
echo "user: $(inside root 'stat -c %u /proc/$(pgrep -of "fingertrio serve")')"
echo "write: $(as_engine "/opt/fingertrio/bin/python3 -c 'open(\"/opt/fingertrio/x\", \"w\")'" 2>&1 | tail -1 || true)"
echo "shells: $(inside root "find $image -name sh -o -name bash -o -name apt -o -name pip | wc -l")"
