#!/bin/bash
# From `apt install ./fingertrio.deb` on a clean Debian to a status that a user sets and others read, then an upgrade,
# a removal and a purge. What it prints is the transcript in docs/guide/install.md; what must hold besides is checked.
#
#     tests/packaging/from_deb.sh DEBIAN PACKAGE
set -euo pipefail
. "$(dirname "$0")/machine.sh"
debian=$1 package=$(realpath "$2")
packages=$(mktemp -d)
litter+=("$packages")
version=$(dpkg-deb --field "$package" Version)
version=${version%-*}
next=${version%.*}.$((${version##*.} + 1))
upgrade=fingertrio_$next-1_$(dpkg-deb --field "$package" Architecture).deb

later() { # the same package as the next version, as an upgrade brings it
    dpkg-deb --raw-extract "$package" "$packages/tree"
    sed -i "s/^Version: .*/Version: $next-1/" "$packages/tree/DEBIAN/control"
    sed -i "s/^__version__ = .*/__version__ = \"$next\"/" "$packages"/tree/usr/lib/fingertrio/lib/python3*/site-packages/fingertrio/__init__.py
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$packages/tree" "$packages/$upgrade" > /dev/null
    rm -r "$packages/tree"
}

page() { # URL: what a reader sees of it in a browser, the one of this machine in the network of that one
    echo "http://127.0.0.1:8000/ada, in Chromium:"
    nsenter -t "$init" --net chromium-headless-shell --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
        --disable-background-networking --disable-component-update --user-data-dir="$packages/browser" \
        --dump-dom http://127.0.0.1:8000/ada 2> /dev/null |
        python3 -c 'import html, re, sys
page = sys.stdin.read()
for found in re.findall(r"<(title|section)\b[^>]*>(.*?)</\1>", page, re.DOTALL)[:2]:
    print("   ", html.unescape(re.sub("<[^>]*>", "", found[1])).strip())'
}

holds() { inside root "$1" > "$packages/log" 2>&1 || { echo "this does not hold: $1"; cat "$packages/log"; exit 1; } >&2; }

later
boot "$debian"
put "$package" "/srv/$(basename "$package")"
put "$packages/$upgrade" "/srv/$upgrade"
inside root 'useradd --create-home --shell /bin/bash ada; useradd --create-home --shell /bin/bash bob'

SECONDS=0
show root "apt install ./$(basename "$package")"
show ada 'fingertrio set gone fishing'
show bob 'finger ada@localhost'
page
echo "($SECONDS seconds)"
echo
fails show bob 'fingertrio set --user ada I was here'
show root 'systemctl --no-legend list-sockets "fingertrio-*"'
show root 'ls -l /var/lib/fingertrio /etc/fingertrio'
echo

holds 'systemd-analyze verify /lib/systemd/system/fingertrio.service /lib/systemd/system/fingertrio-*.socket'
holds 'systemd-analyze security --threshold=15 fingertrio.service'
holds 'test "$(ps -o user= -p "$(systemctl show -P MainPID fingertrio)")" = fingertr+ || test "$(stat -c %U /proc/$(systemctl show -P MainPID fingertrio))" = fingertrio'
holds 'test "$(stat -c "%U %a" /var/lib/fingertrio)" = "fingertrio 700"'
holds 'fingertrio backends' # every module that has machine code can be loaded
holds 'fingertrio healthcheck && journalctl -u fingertrio | grep -q ready'
holds '/var/lib/dpkg/info/fingertrio.postinst configure '"$version-1" # again: nothing breaks
holds 'systemctl disable --now fingertrio-http.socket; systemctl is-active fingertrio || systemctl start fingertrio'
holds 'echo "# mine" >> /etc/fingertrio/fingertrio.toml && sed -i "s/^\[http\]/[http]\nmax_watchers = 7/" /etc/fingertrio/fingertrio.toml'
holds 'systemctl enable --now fingertrio-http.socket; systemctl restart fingertrio'

holds 'systemctl disable fingertrio-setter.socket' # what the administrator has switched off stays off
# Meanwhile everybody who asks is answered: the sockets stay open.
inside bob 'until [ -e /srv/upgraded ]; do finger ada@localhost | grep -q gone || echo unanswered >> unanswered; done' &
show root "apt install ./$upgrade"
show root 'fingertrio --version'
show bob 'finger ada@localhost'
holds '! systemctl is-enabled fingertrio-setter.socket && systemctl is-enabled fingertrio-finger.socket'
holds 'touch upgraded && ! test -e /home/bob/unanswered'
holds 'grep -q mine /etc/fingertrio/fingertrio.toml && fingertrio healthcheck'
echo
show root 'apt remove fingertrio'
show root 'ls /var/lib/fingertrio'
holds '! test -e /usr/lib/fingertrio && ! systemctl is-active fingertrio.service fingertrio-finger.socket'
echo
show root 'apt purge fingertrio'
fails show root 'ls /var/lib/fingertrio /etc/fingertrio'
holds '! systemctl is-enabled fingertrio.service fingertrio-finger.socket'
