#!/bin/bash
# From a clone on a bare Debian, with python3, venv, make and git and nothing else, to a status read over finger. What it
# prints is the transcript in docs/guide/install.md.
#
#     tests/packaging/from_clone.sh DEBIAN REPOSITORY
set -euo pipefail
. "$(dirname "$0")/machine.sh"
origin=$(mktemp -d)
litter+=("$origin")
git init --quiet --bare --initial-branch=main "$origin/it"
git -C "$2" push --quiet "$origin/it" HEAD:refs/heads/main
git -C "$origin/it" bundle create --quiet "$origin/bundle" HEAD main
enter "$1"
put "$origin/bundle" /srv/fingertrio.git
inside root 'useradd --create-home --shell /bin/bash ada'
registries

SECONDS=0
show ada 'git clone --quiet /srv/fingertrio.git fingertrio'
echo 'ada$ cd fingertrio && make run'
# At a terminal, where it says what to do next instead of logging lines for programs.
inside ada 'cd fingertrio && exec script --quiet --flush --command "make run" /dev/null > ~/output' < /dev/null &
running=$!
disown
until inside ada 'grep -qs Ctrl-C output'; do
    kill -0 $running || { inside ada 'cat output'; exit 1; }
    sleep 0.2
done
inside ada 'cat output' | sed 's/\r$//; s/\x1b\[[0-9;]*m//g'
echo
echo "In another terminal:"
echo
show ada 'fingertrio/.venv/bin/fingertrio set gone fishing'
show ada 'fingertrio/.venv/bin/fingertrio finger ada@127.0.0.1:7979'
echo "($SECONDS seconds)"
