#!/usr/bin/env bash
# Build the archive for hosts that have Python 3.10 or later and nothing else.
#
#   ./make-archive.sh [--with-pdf] [--output FILE]
#
#   --with-pdf      include borb, for `generate pdf-invoices` (3.3 MB instead of 0.6)
#   --output FILE   where to write the archive (default: vast.tar.gz); - is stdout
#
# It contains one directory, vast/: the program and its documents as committed to git,
# and in lib/ the packages pinned below, which pip fetches from the index it is
# configured to use. All times are the commit's, or SOURCE_DATE_EPOCH. The same commit
# gives the same bytes with the same versions of tar and gzip.
#
# A regular file is replaced in one step and keeps its mode; anything else, such as a
# pipe or a device, is written to. The SHA-256 goes to stdout, as sha256sum prints it,
# or to stderr if the archive itself goes to stdout.
#
# Requires bash 4.4, git, python3 with pip, gzip, GNU tar, GNU sed and GNU coreutils.
set -euo pipefail

files=(LICENSE README.md requirements.txt vast.py)

# What pip resolves for Python 3.10: pure Python wheels, good for later versions. Left
# out is tzdata, which dateutil reads only for time zones by name; the program uses none.
packages='
certifi==2026.10.18 --hash=sha256:73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62
charset-normalizer==3.5.2 --hash=sha256:b6b751274acb69d77b3323d6b7dbaa3c7fdfc1eb829b7eb61d262f32e1af9685
idna==3.20 --hash=sha256:ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c
python-dateutil==3.0.0 --hash=sha256:3c79630202e4152c6add678446984236efe4f57e84d8e892aab0637bab82e9fd
requests==2.34.2 --hash=sha256:2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0
six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
urllib3==2.8.0 --hash=sha256:0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3
'
borb='borb==3.0.9 --hash=sha256:cd1038856b054e7e22e4c7218fa70095421437d5159bdb806453bd2c5e044a4f'

say() { printf 'make-archive.sh: %s\n' "$1" >&2 || true; }
die() { say "$1" && exit "${2:-1}"; }

# The repository is the one that contains this script.
git() { command git -C "$(dirname -- "$0")" "$@"; }

# Run a command in the background, so that a signal to this script alone ends both.
run() { "$@" <&0 & wait $!; }

output=vast.tar.gz
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
    --with-pdf) packages+=$borb ;;
    --output) output=${2-} && shift ;;
    --output=*) output=${1#*=} ;;
    *) die "unknown argument: $1 (see --help)" 2 ;;
    esac
    shift || break
done
[ "$output" ] || die 'option --output requires a file name (see --help)' 2

for tool in git gzip realpath sha256sum 'sed (GNU sed)' 'tar (GNU tar)'; do
    [[ $("${tool%% *}" --version 2>/dev/null) == *"$tool"* ]] || die "$tool is required"
done
python3 -I -c 'import pip' 2>/dev/null || die 'python3 with pip is required'

# Clear what would change the bytes or make git read another repository, but keep git's
# configuration: safe.directory may be set there. pip's settings decide where it fetches
# from, but not what.
# shellcheck disable=SC2046
unset GZIP PIP_PYTHON POSIXLY_CORRECT TAR_OPTIONS \
    $(git rev-parse --local-env-vars | sed /^GIT_CONFIG/d)
export PIP_CONSTRAINT=/dev/null PIP_REQUIREMENT=/dev/null PIP_REQUIRE_VIRTUALENV=0
export GIT_NO_REPLACE_OBJECTS=1 LC_ALL=C

time=$(git rev-list --timestamp -1 HEAD --) || die 'cannot find a commit to build from'
time=${SOURCE_DATE_EPOCH:-${time% *}}
[[ $time =~ ^[0-9]{1,10}$ ]] || die 'SOURCE_DATE_EPOCH is not a number of seconds'
dirty=$(git diff --name-only --relative HEAD -- "${files[@]}" make-archive.sh)
[ -z "$dirty" ] || say "building HEAD; uncommitted changes in ${dirty//$'\n'/, }"

# A regular file, or one yet to be made, is the `target` of a rename, for which the
# archive is built in the same directory. Anything else is written to.
if [ "$output" = - ] || [ "$output" -ef /dev/stdout ]; then output=/dev/fd/1; fi
[ ! -d "$output" ] || die "$output is a directory"
if [[ $output =~ ^/dev/fd/[0-9]+$ || (-e $output && ! -f $output) ]]; then
    [ -w "$output" ] || die "cannot write to $output"
    target='' folder=${TMPDIR:-/tmp}
else
    # Through a symlink, like cp.
    target=$(realpath -- "$output" 2>&1) || die "cannot write to $output: ${target##*: }"
    folder=$(dirname -- "$target")
fi
work=$(mktemp -d -- "$folder/.make-archive.XXXXXX" 2>&1) ||
    die "cannot write to $folder: ${work##*: }"
trap 'trap "" HUP INT TERM; kill %% 2>/dev/null || true; wait; rm -rf -- "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
export TMPDIR=$work

# Not by `git archive`, which applies attributes and configuration to the contents.
mkdir -p -- "$work/vast/lib"
for file in "${files[@]}"; do
    git cat-file blob "HEAD:./$file" >"$work/vast/$file" || die "$file is not committed"
done
sed -Ezi 's/!\[[^]]*\]\([^)]*\)(\n\n)?//g' "$work/vast/README.md" # no pictures
chmod a+x -- "$work/vast/vast.py"

echo "$packages" >"$work/pinned.txt"
run python3 -I -m pip download -qq --no-deps --require-hashes --only-binary :all: \
    --python-version 3.10 --implementation py --abi none --platform any \
    --dest "$work/wheels" --requirement "$work/pinned.txt" >&2 ||
    die 'pip could not download the packages'
for wheel in "$work"/wheels/*; do
    python3 -I -m zipfile -e "$wheel" "$work/vast/lib" || die "cannot unpack ${wheel##*/}"
done

# Without tests, pip's lists of files, and what urllib3 has for browsers.
archive=$work/archive
tar --create --file=- --directory="$work" --format=ustar --sort=name \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX,ug-s --mtime="@$time" \
    --exclude={tests,RECORD,emscripten} vast |
    gzip -n -9 >"$archive" || die 'could not pack the archive'

if [ "$target" ]; then
    [ ! -e "$target" ] || chmod --reference="$target" -- "$archive"
    mv -fT -- "$archive" "$target"
    sha256sum -- "$output"
    exit
elif [[ $output =~ ^/dev/fd/[0-9]+$ ]]; then
    run cat -- "$archive" >&"${output##*/}" # not opened again: with >> it appends
else
    run cp -- "$archive" "$output"
fi
[ "$output" != /dev/fd/1 ] || exec >&2
sha256sum <"$archive"
