#!/usr/bin/env bash
# Draws the PDF invoice again whenever a source file changes, until Ctrl-C.
#
#   ./watcher.sh [ARGUMENT...]    arguments of `vast.py generate pdf-invoices`
set -euo pipefail

say() { printf 'watcher.sh: %s\n' "$*" >&2; }

sources() { ls --full-time -- "$here"/*.py; }

# Its output changes once the sources are not what was seen, and from then on every time,
# so that nothing is missed that changes before `watch` looks for the first time.
news() { [ "$(sources)" = "$seen" ] || echo $$; }

end() {
    jobs -p | xargs -r kill 2>/dev/null || true
    wait
    say 'ended'
    exit 130
}

if ! command -v watch >/dev/null; then
    say 'needs the program watch, of the package procps: apt-get install procps'
    exit 1
fi
here=$(dirname -- "$0")
export here seen
export -f sources news
trap end HUP INT TERM
seen=$(sources)
say "waiting for a change of $here/*.py; Ctrl-C ends it"
while true; do
    # In the background, so that a signal to this script alone ends both; without a
    # screen, which would hide what is said here.
    TERM=dumb watch -g -n 0.5 -x bash -c news <&0 >/dev/null &
    wait $!
    say 'changed; drawing the PDF in a second'
    sleep 1
    seen=$(sources) || true
    "$here/vast.py" generate pdf-invoices "$@" || say 'that failed; going on'
done
