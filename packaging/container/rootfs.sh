#!/bin/sh
# Makes the root file system of the image: rootfs.sh DIRECTORY PROGRAM, in a Debian with python3.
#
# It has PROGRAM (a virtual environment), Debian's Python with the standard library, the shared libraries that these load,
# and the certificates of authorities. Of each Debian package that a file comes from, the licence and the entry in the
# package database come too, where scanners for vulnerabilities look.
set -eu
image=$1 program=$2
minor=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

mkdir -p "$image/dev" "$image/proc" "$image/sys" "$image/etc/ssl/certs" "$image/var/lib/dpkg/status.d" "$image/usr/lib64"
mkdir -m 1777 "$image/tmp"
for directory in bin lib lib64; do ln -s "usr/$directory" "$image/$directory"; done

put() { # FILE...: at the same place; the files of /lib are in /usr/lib
    for file in "$@"; do
        case $file in /lib/* | /lib64/* | /bin/*) place=/usr$file ;; *) place=$file ;; esac
        mkdir -p "$image$(dirname "$place")"
        cp -aL "$file" "$image$place"
    done
}

needed() { # the shared libraries that the machine code below these places loads, and the loader
    find "$@" -type f \( -name '*.so' -o -name 'python3*' \) -exec ldd {} + 2> /dev/null |
        sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\) (.*/\1/p' | sort -u
}

mkdir -p "$image$(dirname "$program")" "$image/usr/bin" "$image/usr/lib"
cp -a "$program" "$image$program"
cp -a "/usr/lib/python$minor" "$image/usr/lib/python$minor"
put "/usr/bin/python$minor" /etc/ssl/certs/ca-certificates.crt
ln -s "python$minor" "$image/usr/bin/python3"
libraries=$(needed "$program/lib" "/usr/lib/python$minor" "/usr/bin/python$minor")
# shellcheck disable=SC2086
put $libraries
# Not needed to run anything: setting up environments, an editor, graphical toolkits, the second copy of the bytecode.
for part in ensurepip idlelib tkinter turtledemo lib2to3 pydoc_data "config-$minor-$(uname -m)-linux-gnu"; do
    rm -rf "$image/usr/lib/python$minor/$part"
done
python3 -m compileall -qq "$image/usr/lib/python$minor" || true

printf 'root:x:0:0:root:/:/nonexistent\nfingertrio:x:10001:10001:fingertrio:/var/lib/fingertrio:/nonexistent\n' > "$image/etc/passwd"
printf 'root:x:0:\nfingertrio:x:10001:\n' > "$image/etc/group"
printf 'hosts: files dns\n' > "$image/etc/nsswitch.conf"
install -d -o 10001 -g 10001 -m 700 "$image/var/lib/fingertrio"

# shellcheck disable=SC2086
for package in $(dpkg-query --search $(readlink -f $libraries) "/usr/bin/python$minor" "/usr/lib/python$minor/os.py" 2> /dev/null |
    sed 's/[:,].*//' | sort -u) ca-certificates; do
    dpkg-query --status "$package" > "$image/var/lib/dpkg/status.d/$package"
    put "/usr/share/doc/$package/copyright"
done
