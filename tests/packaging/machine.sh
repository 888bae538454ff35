# A clean Debian, and machines that start from it: sourced by from_deb.sh and from_clone.sh.
#
#     debian DIRECTORY            a Debian as its installer leaves it, with python3, python3-venv, make, git and finger
#     boot DIRECTORY              a machine that starts from it, with systemd as process 1 and a network of its own
#     enter DIRECTORY             one without systemd
#     registries                  from now on, pip and apt in the machine reach their registries
#     inside USER COMMAND         runs a command in the machine
#     show USER COMMAND           the same, and prints both as a terminal would: this is how the transcripts are made
#
# A machine lives in namespaces over an overlay of the directory, which is not changed, and ends with the script.
# Needs root, mmdebstrap, iproute2, procps, overlayfs and cgroup2. None of it needs a container engine.

proxy=
litter=() # what is removed at the end too

debian() {
    # Nobody reads the manual in there, and a disk that forgets at a power failure is soon written.
    # In namespaces of its own, so that a test that is ended leaves nothing mounted in a directory that is then deleted.
    unshare --mount --pid --fork --kill-child mmdebstrap --quiet --mode=root --variant=apt --include=systemd-sysv,python3-venv,make,git,ca-certificates,netbase,procps,apt-utils,finger \
        --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$1"
    # `apt` as for a person, in a transcript: it asks nothing, reports no progress, and does not warn of use in scripts.
    printf '%s "%s";\n' APT::Get::Assume-Yes true Apt::Cmd::Disable-Script-Warning true quiet 2 > "$1/etc/apt/apt.conf.d/90person"
    rm -rf "$1"/etc/systemd/system/*.wants "$1"/lib/systemd/system-generators/*
    rm -f "$1"/lib/systemd/system/{getty.target,systemd-{sysctl,modules-load,udevd,udev-trigger,logind,binfmt}.service}
    : > "$1/etc/fstab"
    # As this machine reaches package registries.
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}

boot() { start "$1" systemd; }
enter() { start "$1" "sleep infinity"; }

registries() {
    python3 "$(dirname "${BASH_SOURCE[0]}")/registries.py" "$init" &
    proxy=$!
    inside root 'echo "Acquire::http::Proxy \"http://127.0.0.1:3128\";" > /etc/apt/apt.conf.d/91proxy'
    until inside root 'exec 3<> /dev/tcp/127.0.0.1/3128' 2> /dev/null; do sleep 0.1; done
}

start() { # DIRECTORY PROCESS
    machine=$(mktemp -d)
    trap end EXIT
    local groups
    groups=$(findmnt -nt cgroup2 -o TARGET | head -1)
    [ -n "$groups" ] || { echo "a machine needs cgroup2, which is not mounted here" >&2; exit 2; }
    group=$groups/fingertrio-$$
    mkdir "$group"
    # Into the new group first: where the process is when it gets a namespace of its own is the root of that.
    (echo "$BASHPID" > "$group/cgroup.procs"; exec unshare --fork --kill-child --pid --mount --cgroup --uts --ipc \
        bash -e "${BASH_SOURCE[0]}" "$machine" "$@") > "$machine.log" 2>&1 &
    keeper=$!
    until init=$(pgrep -P $keeper) && is_up "$2"; do
        kill -0 $keeper 2> /dev/null || { cat "$machine.log"; exit 1; }
        sleep 0.1
    done
}

is_up() { # until then its first process is still the one that mounts
    grep -q "^${1%% *}\$" "/proc/$init/comm" || return 1
    [ "$1" != systemd ] || inside root 'systemctl is-system-running' 2> /dev/null | grep -Eq 'running|degraded'
}

end() { # everything in there lives in that process's namespaces and ends with it
    exec 2> /dev/null
    kill -9 "$keeper" $proxy
    wait || true
    for _ in $(seq 50); do find "$group" -depth -type d -exec rmdir {} + && break; sleep 0.1; done
    rm -rf "$machine" "$machine.log" "${litter[@]}"
}

inside() { # USER COMMAND: in the user's home; root's is /srv, where apt may read packages
    local home=/srv
    [ "$1" = root ] || home=/home/$1
    nsenter -t "$init" -a env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$home" \
        DEBIAN_FRONTEND=noninteractive \
        ${proxy:+https_proxy=http://127.0.0.1:3128} PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        setpriv --reuid "$1" --regid "$1" --init-groups bash -c "cd; $2"
}

put() { # FILE PLACE: copies a file into the machine
    nsenter -t "$init" --mount --root sh -c 'cat > "$1"' sh "$2" < "$1"
}

show() { # USER COMMAND
    if [ "$1" = root ]; then echo "# $2"; else echo "$1\$ $2"; fi
    inside "$@" 2>&1 | sed 's/\r*$//; s/.*\r//' # a terminal shows what was written last
}

fails() { # COMMAND...: for a command of which one wants to see that it is refused
    if "$@"; then echo "this should have failed: $*" >&2; exit 1; fi
}

become() { # WORK DIRECTORY PROCESS: the first process of a machine, in its new namespaces
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$1"
    mkdir "$1"/{upper,index,root}
    mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/index" "$1/root"
    cp --remove-destination /etc/resolv.conf "$1/root/etc/resolv.conf"
    cd "$1/root"
    for directory in tmp run dev; do mount -t tmpfs -o mode=755 tmpfs $directory; done
    chmod 1777 tmp
    mkdir dev/pts dev/shm
    for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t proc proc proc
    ln -s /proc/self/fd dev/fd
    mount --bind proc/sys proc/sys
    mount -o remount,ro,bind proc/sys # the settings of the kernel are not the machine's
    # shellcheck disable=SC2016
    exec unshare --net sh -ec 'ip link set lo up
        mount -t sysfs -o ro sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
        mkdir old; pivot_root . old; umount -l old
        [ "$1" != systemd ] || exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
        exec $1' sh "$3"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || become "$@"
