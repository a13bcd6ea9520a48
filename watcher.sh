#!/usr/bin/env bash
# Redraw the PDF invoice whenever a source file changes, until Ctrl-C.
#
#   ./watcher.sh [ARGUMENT...]    arguments for `vast.py generate pdf-invoices`
set -euo pipefail

say() { printf 'watcher.sh: %s\n' "$*" >&2 || true; }

list_sources() { ls --full-time -- "$here"/*.py; }

# What `watch` compares: nothing while the sources are as last seen, then something else
# at every call, so that a change before its first call is noticed too.
report_change() { [ "$(list_sources)" = "$seen" ] || echo $$; }

stop() {
    local job
    trap '' HUP INT TERM
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    wait
    say 'stopped'
    exit "$1"
}

if ! command -v watch >/dev/null; then
    say 'watch is required: apt-get install procps'
    exit 1
fi
here=$(dirname -- "$0")
export here seen
export -f list_sources report_change
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM
seen=$(list_sources)
say "watching $here/*.py; press Ctrl-C to stop"
while true; do
    # In the background, so that a signal to this script alone stops both. TERM=dumb,
    # because clearing the screen would erase the messages above.
    TERM=dumb watch -g -n 0.5 -x bash -c report_change <&0 >/dev/null &
    wait $!
    say 'source changed; redrawing the PDF in 1 second'
    sleep 1
    seen=$(list_sources) || true
    "$here/vast.py" generate pdf-invoices "$@" || say 'drawing failed; still watching'
done
