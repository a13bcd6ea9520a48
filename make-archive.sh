#!/usr/bin/env bash
# Builds the archive for hosts that have Python 3.10 or later and nothing else.
#
#   ./make-archive.sh [--with-pdf] [--output FILE]
#
#   --with-pdf      with borb, for `generate pdf-invoices` (5 MB instead of 1)
#   --output FILE   the file to write; without it, vast.tar.gz in the current folder
#
# It holds one folder, vast/: the program and its papers as git has committed them, and
# in lib/ the packages that this script lists, fetched by pip from wherever pip is set
# up to look. The same commit gives the same bytes on every machine; all times are the
# commit's, or SOURCE_DATE_EPOCH. Prints the SHA-256 as `sha256sum --check` reads it.
set -euo pipefail

files=(LICENSE README.md requirements.txt vast.py)

# What pip chooses for Python 3.10, as wheels in pure Python, which later ones take too.
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
pdf_compiled='' # the names of what borb needs that is not pure Python

say() { printf 'make-archive.sh: %s\n' "$*" >&2; }
die() { say "$1" && exit "${2:-1}"; }

output=vast.tar.gz with_pdf='' work=''
trap 'rm -rf -- ${work:+"$work"}' EXIT
trap 'exit 130' HUP INT TERM

while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
    --with-pdf) with_pdf=yes ;;
    --output)
        [ -n "${2:-}" ] || die '--output needs a file' 2
        output=$2 && shift
        ;;
    --output=?*) output=${1#*=} ;;
    *) die "no such option: $1 (see --help)" 2 ;;
    esac
    shift
done
if [ "$with_pdf" ]; then
    packages+=$pdf_packages
    say "left out of what borb needs, not pure Python: ${pdf_compiled:-nothing}"
fi
[ ! -d "$output" ] || die "$output is a folder"
[[ ${SOURCE_DATE_EPOCH:-0} =~ ^[0-9]{1,10}$ ]] || die 'SOURCE_DATE_EPOCH is no time'

# Without the line ends that a person has git write on checkout.
git() { command git -C "$(dirname -- "$0")" -c core.autocrlf=false "$@"; }
git rev-parse --quiet --verify HEAD >/dev/null || die 'there is no commit to build from'
python3 -c 'import pip' 2>/dev/null || die 'python3 with pip is needed'
changed=$(git diff --name-only --relative HEAD -- "${files[@]}" make-archive.sh)
[ -z "$changed" ] || say "the commit is built; changed since: ${changed//$'\n'/, }"

# Beside the file to write, so that a rename puts it into place whole.
work=$(mktemp -d -- "$(dirname -- "$output")/.make-archive.XXXXXX")
export TMPDIR=$work

git archive --format=tar HEAD -- "${files[@]}" >"$work/committed.tar"
awk 'NF { print $1 "==" $2 " --hash=sha256:" $3 }' <<<"$packages" >"$work/wheels.txt"
python3 -m pip download -qq --no-deps --require-hashes --only-binary :all: \
    --python-version 3.10 --implementation py --abi none --platform any \
    --dest "$work/wheels" --requirement "$work/wheels.txt" ||
    die 'pip could not get the packages'

python3 -I - "$work" "$output" <<'PYTHON'
import hashlib
import io
import os
import re
import signal
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath


def deflate(data: bytes) -> bytes:
    """Return data as raw deflate (RFC 1951): greedy matches, fixed codes.

    Not by zlib, whose bytes differ between its versions and its kin.
    """

    def code(symbol: int) -> str:
        if symbol < 144:
            return f"{symbol + 48:08b}"
        if symbol < 256:
            return f"{symbol + 256:09b}"
        return f"{symbol - 256:07b}" if symbol < 280 else f"{symbol - 88:08b}"

    def extended(code: str, extra: int) -> list[str]:
        return [code + f"{i:0{extra}b}"[::-1] * (extra > 0) for i in range(1 << extra)]

    literals = [code(symbol) for symbol in range(256)]
    lengths, distances = [""] * 3, [""]
    for symbol in range(257, 285):
        lengths += extended(code(symbol), max(0, (symbol - 261) // 4))
    lengths[258] = code(285)
    for symbol in range(30):
        distances += extended(f"{symbol:05b}", max(0, symbol // 2 - 1))

    bits, seen, at = ["1", "10"], {}, 0  # the last block, of fixed codes
    while at < len(data):
        start = data[at : at + 4]
        distance = at - seen.get(start, -len(distances))
        seen[start] = at
        length = 1
        if distance < len(distances):
            most = min(258, len(data) - at)
            while length < most and data[at + length] == data[at + length - distance]:
                length += 1
            bits.append(lengths[length] + distances[distance])
        else:
            bits.append(literals[data[at]])
        at += length
    text = "".join([*bits, code(256)])
    return int(text[::-1], 2).to_bytes((len(text) + 7) // 8, "little")


def gzip(data: bytes) -> bytes:
    """Return data as a gzip file without a name and a time."""
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + deflate(data) + struct.pack("<LL", zlib.crc32(data), len(data))


signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C without a traceback
work, output = Path(sys.argv[1]), sys.argv[2]
contents = {}
with tarfile.open(work / "committed.tar") as tar:
    for member in tar:
        contents[f"vast/{member.name}"] = tar.extractfile(member).read()
time = int(os.environ.get("SOURCE_DATE_EPOCH") or member.mtime)
for wheel in (work / "wheels").iterdir():
    with zipfile.ZipFile(wheel) as package:
        for name in package.namelist():
            if not name.endswith("/") and "/tests/" not in name:
                contents[f"vast/lib/{name}"] = package.read(name)

# The pictures stay behind.
readme = contents["vast/README.md"].decode()
readme = re.sub(r"!\[[^]]*\]\([^)]*\)(\n\n)?", "", readme)
contents["vast/README.md"] = readme.encode()

folders = {str(it) for name in contents for it in PurePosixPath(name).parents} - {"."}
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
    for name in sorted(folders | contents.keys()):
        entry, content = tarfile.TarInfo(name), contents.get(name, b"")
        if name in folders:
            entry.type = tarfile.DIRTYPE
        entry.mode = 0o755 if name in folders or name == "vast/vast.py" else 0o644
        entry.mtime, entry.size = time, len(content)
        tar.addfile(entry, io.BytesIO(content))

archive = gzip(packed.getvalue())
(work / "archive").write_bytes(archive)
os.replace(work / "archive", output)
print(f"{hashlib.sha256(archive).hexdigest()}  {output}")
PYTHON
