#!/bin/bash
# Boots systemd in namespaces of its own over an overlay of this machine's /, installs fingertrio there by the very
# commands of docs/guide/operating.md, and breaks it while clients ask. Nothing of the machine changes and nothing is left.
#
#     faults/under_systemd.sh          # as root, 40 seconds; status 0: every promise was kept
#     faults/under_systemd.sh bash     # a shell in there instead
#
# Needs cgroup2, overlayfs, Debian's systemd, python3-venv and iproute2. Only pip uses the machine's network.
set -eu
self=$(realpath "$0")
cd "$(dirname "$self")/.."

outside() {
    work=$(mktemp -d)
    group=$(findmnt -nt cgroup2 -o TARGET | head -1)/fingertrio-$$
    mkdir "$group"
    # Into the new group first: where the process is when it gets a namespace of its own is the root of that.
    (echo "$BASHPID" >"$group/cgroup.procs" && stage=boot work=$work exec \
        unshare --fork --kill-child --pid --mount --cgroup --uts --ipc "$self") >"$work.log" 2>&1 &
    init=$!
    trap end EXIT
    until inner=$(pgrep -P $init) && inside systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded'; do
        kill -0 $init 2>/dev/null || { cat "$work.log"; exit 1; }
        sleep 0.2
    done
    if [ $# -gt 0 ]; then inside "$@"; exit; fi
    inside stage=check "$self"
}

end() { # everything in there lives in that process's namespaces and ends with it
    exec 2>/dev/null; kill -9 $init; wait $init || :
    until find "$group" -depth -type d -exec rmdir {} +; do sleep 0.1; done; rm -r "$work" "$work.log"
}

inside() { nsenter -t "$inner" -a env -i PATH=/opt/fingertrio/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"; }

boot() {
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$work" # an overlay's upper directory may not lie in its lower one
    cd "$work"; mkdir upper index root
    mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=index root; cd root
    for directory in tmp run dev; do mount -t tmpfs -o mode=755 tmpfs $directory; done
    chmod 1777 tmp; mkdir dev/pts dev/shm
    for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
    mount -t proc proc proc; ln -s /proc/self/fd dev/fd
    chroot . /usr/bin/python3 -m venv --clear /opt/fingertrio
    chroot . /opt/fingertrio/bin/pip install -q "${self%/faults/*}"
    # What fingertrio does not need stays away, above all what would set up the kernel; that is read-only besides.
    : >etc/fstab; rm -rf etc/systemd/system/*.wants etc/systemd/system/*.service usr/lib/systemd/system-generators/*
    rm -f usr/lib/systemd/system/{getty.target,systemd-{sysctl,modules-load,udevd,udev-trigger,logind,binfmt}.service}
    mount --bind proc/sys proc/sys; mount -o remount,ro,bind proc/sys
    exec unshare --net sh -ec 'ip link set lo up; mount -t sysfs -o ro sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
        mkdir old; pivot_root . old; umount -l old
        exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system'
}

ask() { # SECONDS RATE: so many finger and as many HTTP clients a second; status 1 if anybody got no answer
    python3 - "$@" <<'END'
import concurrent.futures, socket, sys, time
def ask(port, question):
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(question)
        assert b"Happy" in b"".join(iter(lambda: client.recv(4096), b"")), "another answer"
http = b"GET /api/users/glyph HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
seconds, rate = map(int, sys.argv[1:])
with concurrent.futures.ThreadPoolExecutor(1000) as pool:
    asked = []
    for _ in range(seconds * rate):
        asked += pool.submit(ask, 79, b"glyph\r\n"), pool.submit(ask, 8000, http)
        time.sleep(1 / rate)
failures = [repr(each.exception()) for each in asked if each.exception()]
print(f"{len(asked)} asked, {len(failures)} without an answer", *sorted(set(failures)))
sys.exit(bool(failures))
END
}

check() {
    config=/etc/fingertrio/production.toml since=$(date '+%F %T')
    # Install: the first commands that the documentation has for it, but for those that need the network.
    sed -n '/^## Install/,/^```$/s/^# //p' docs/guide/operating.md | grep -v /opt/ | sh -ex
    mkdir /run/systemd/system/fingertrio.service.d
    printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/fingertrio.service.d/soon.conf
    systemctl daemon-reload; systemctl restart fingertrio; fingertrio set --at unix:/run/fingertrio/setter.sock --user glyph Happy
    useradd -m ada; su ada -c 'fingertrio set back at five --until 23:59' | grep '^ada: back at five, until'
    ! su ada -c 'fingertrio set --user glyph Hacked' || exit 1
    main() { systemctl show -P MainPID fingertrio; }
    journal() { timeout 15 sh -c "until journalctl -u fingertrio --since '$since' | grep '$1'; do sleep 0.1; done"; }
    echo "restarted twice:"; ask 6 200 & asking=$!
    sleep 1; systemctl restart fingertrio; sleep 2; systemctl restart fingertrio; wait $asking
    echo "a broken configuration:"; cp $config /tmp/good; echo 'nonsense = 1' >>$config
    systemctl reload fingertrio; journal reload_refused; ask 10 5 & asking=$!
    sleep 1; ! systemctl restart fingertrio 2>/dev/null; journal 'restart counter is at 6'
    cp /tmp/good $config; wait $asking
    echo "killed:"; kill -9 "$(main)"; journal 'status=9/KILL'; ask 1 20
    echo "hanging:"; kill -STOP "$(main)"; journal 'Watchdog timeout'; journal 'Fatal Python error: Aborted'; ask 1 20
    systemd-analyze security --no-pager --threshold=14 fingertrio >/tmp/exposure; tail -1 /tmp/exposure
    systemctl stop fingertrio 'fingertrio-*.socket'; [ "$(systemctl show -P Result fingertrio)" = success ]
}

"${stage:-outside}" "$@"
