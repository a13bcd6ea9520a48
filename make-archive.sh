#!/usr/bin/env bash
# Build the archive for hosts that have Python 3.10 or later and nothing else.
#
#   ./make-archive.sh [--with-pdf] [--output FILE]
#
#   --with-pdf      include borb, for `generate pdf-invoices` (3.5 MB instead of 0.8)
#   --output FILE   where to write the archive (default: vast.tar.gz); - is stdout
#
# The archive contains one directory, vast/: the program and its documents as committed
# to git, and in lib/ the packages pinned below, which pip fetches from the index it is
# configured to use. All times are the commit's, or SOURCE_DATE_EPOCH. The same commit
# gives the same bytes with the same versions of tar and gzip.
#
# A regular file is replaced in one step and keeps its mode; a symlink to one is
# followed. Anything else, such as a pipe or a device, is written to. The SHA-256 goes
# to stdout, in the format of sha256sum, with - as the name unless FILE is a regular
# file. If the archive itself goes to stdout, the SHA-256 goes to stderr.
#
# Requires bash 4.4, git, python3 with pip, gzip, GNU tar, GNU sed and GNU coreutils.
set -Eeuo pipefail

files=(LICENSE README.md requirements.txt vast.py)

# What pip resolves for Python 3.10: pure Python wheels, good for later versions.
packages='
certifi            2026.10.18 73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62
charset-normalizer 3.5.2      b6b751274acb69d77b3323d6b7dbaa3c7fdfc1eb829b7eb61d262f32e1af9685
idna               3.20       ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c
python-dateutil    3.0.0      3c79630202e4152c6add678446984236efe4f57e84d8e892aab0637bab82e9fd
requests           2.34.2     2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0
six                1.17.0     4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
tzdata             2026.6     0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec
urllib3            2.8.0      0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3
'
pdf_packages='
borb               3.0.9      cd1038856b054e7e22e4c7218fa70095421437d5159bdb806453bd2c5e044a4f
'
pdf_compiled='' # dependencies of borb that are not pure Python

say() { printf 'make-archive.sh: %s\n' "$1" >&2 || true; }
die() { say "$1" && exit "${2:-1}"; }

# Run a command in the background, so that a signal to this script alone ends both.
run() { "$@" <&0 & wait $!; }

# The repository is the one that contains this script.
git() { command git -C "$(dirname -- "$0")" "$@"; }

clean_up() {
    local job
    trap '' HUP INT TERM
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    wait
    rm -rf -- "${temporary[@]}"
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
        --with-pdf) with_pdf=yes ;;
        --output) output=${2-} && shift ;;
        --output=*) output=${1#*=} ;;
        -*) die "unknown option: $1 (see --help)" 2 ;;
        *) die "unexpected argument: $1 (see --help)" 2 ;;
        esac
        shift || break
    done
    [ "$output" ] || die 'option --output requires a file name (see --help)' 2
}

# Clear what would change the bytes, or make git read another repository.
clean_environment() {
    local name
    unset GZIP PIP_PYTHON POSIXLY_CORRECT TAR_OPTIONS
    for name in $(git rev-parse --local-env-vars); do
        [[ $name == GIT_CONFIG* ]] || unset "$name" # safe.directory may be set there
    done
    export LC_ALL=C GIT_NO_REPLACE_OBJECTS=1
    # pip's settings decide where it fetches from, but not what.
    export PIP_CONSTRAINT=/dev/null PIP_REQUIREMENT=/dev/null PIP_REQUIRE_VIRTUALENV=0
}

check_requirements() {
    local name
    for name in git gzip realpath sha256sum; do
        type -P "$name" >/dev/null || die "$name is required"
    done
    for name in tar sed; do
        [[ $("$name" --version 2>/dev/null) == *"(GNU $name)"* ]] ||
            die "GNU $name is required"
    done
    python3 -I -c 'import pip' 2>/dev/null || die 'python3 with pip is required'
    [[ ${SOURCE_DATE_EPOCH:-0} =~ ^[0-9]{1,10}$ ]] ||
        die 'SOURCE_DATE_EPOCH is not a number of seconds'
}

# Set `commit` and `time`.
find_commit() {
    local head dirty
    head=$(git rev-list --timestamp --max-count=1 HEAD --) ||
        die 'cannot find a commit to build from'
    commit=${head#* } time=${SOURCE_DATE_EPOCH:-${head% *}}
    dirty=$(git diff --name-only --relative HEAD -- "${files[@]}" make-archive.sh)
    [ -z "$dirty" ] || say "building HEAD; uncommitted changes in ${dirty//$'\n'/, }"
}

# Set `archive`, where to build it, and `target`, the regular file that it replaces.
choose_output() {
    local folder
    if [ "$output" = - ] || [ "$output" -ef /dev/stdout ]; then output=/dev/fd/1; fi
    [ ! -d "$output" ] || die "$output is a directory"
    archive=$work/archive target=
    if [[ $output =~ ^/dev/fd/[0-9]+$ ]] || [[ -e $output && ! -f $output ]]; then
        [ -w "$output" ] || die "cannot write $output"
        return
    fi
    # Like git and cp, write through a symlink. The rename needs the same file system.
    target=$(realpath -- "$output" 2>&1) || die "cannot write $output: ${target##*: }"
    folder=$(mktemp -d -- "$(dirname -- "$target")/.make-archive.XXXXXX" 2>&1) ||
        die "cannot write $output: ${folder##*: }"
    temporary+=("$folder")
    archive=$folder/archive
}

# Not by `git archive`, which applies attributes and configuration to the contents.
add_committed_files() {
    local name
    mkdir -p -- "$work/vast/lib"
    for name in "${files[@]}"; do
        git cat-file blob "$commit:./$name" >"$work/vast/$name" ||
            die "$name is not committed"
    done
    sed -Ezi 's/!\[[^]]*\]\([^)]*\)(\n\n)?//g' "$work/vast/README.md" # no pictures
    chmod a+x -- "$work/vast/vast.py"
}

add_packages() {
    local wheel
    sed -nE 's/^(\S+) +(\S+) +(\S+)$/\1==\2 --hash=sha256:\3/p' <<<"$packages" \
        >"$work/pinned.txt"
    run python3 -I -m pip download -qq --no-deps --require-hashes \
        --only-binary :all: --python-version 3.10 --implementation py --abi none \
        --platform any --dest "$work/wheels" --requirement "$work/pinned.txt" >&2 ||
        die 'pip could not download the packages'
    for wheel in "$work"/wheels/*; do
        python3 -I -m zipfile -e "$wheel" "$work/vast/lib" ||
            die "could not unpack ${wheel##*/}"
    done
}

# Left out are tests, pip's lists of files, and what urllib3 has for browsers.
pack() {
    tar --create --file=- --directory="$work" --format=ustar --sort=name \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX,ug-s --mtime="@$time" \
        --exclude={tests,RECORD,emscripten} vast |
        gzip -n -9 >"$archive" || die 'could not pack the archive'
}

write_output() {
    if [ "$target" ]; then
        [ ! -e "$target" ] || chmod --reference="$target" -- "$archive"
        mv -fT -- "$archive" "$target"
        sha256sum -- "$output"
        return
    fi
    case $output in
    /dev/fd/*) run cat -- "$archive" >&"${output##*/}" || exit ;; # quiet if closed
    *) run cp -- "$archive" "$output" ;;
    esac
    [ "$output" != /dev/fd/1 ] || exec >&2
    sha256sum <"$archive"
}

output=vast.tar.gz with_pdf='' temporary=()
trap clean_up EXIT
trap 'exit 1' ERR
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

parse_arguments "$@"
check_requirements
clean_environment
find_commit
work=$(mktemp -d -t make-archive.XXXXXX)
temporary+=("$work")
export TMPDIR=$work
choose_output
if [ "$with_pdf" ]; then
    packages+=$pdf_packages
    say "dependencies of borb left out (not pure Python): ${pdf_compiled:-none}"
fi
add_committed_files
add_packages
pack
write_output
