#!/bin/sh
# Builds the Debian package from the last commit, in a temporary directory.
# The result goes to $OUT (default: dist/). What is missing for the build is installed, as root.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

mkdir "$work/zurl-py"
if [ -e "$root/.git" ]; then
    git -C "$root" archive HEAD | tar -x -C "$work/zurl-py"
else
    cp -r "$root/." "$work/zurl-py"
fi
cd "$work/zurl-py"
if ! dpkg-checkbuilddeps; then
    [ "$(id -u)" = 0 ] || { echo "build-deb: install the above first" >&2; exit 1; }
    apt-get update -q
    apt-get install -q -y --no-install-recommends build-essential fakeroot
    apt-get build-dep -q -y --no-install-recommends .
fi
# Files get the changelog's date, so that the same tree gives the same package.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -S Timestamp)
export SOURCE_DATE_EPOCH
dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
mkdir -p "$out"
cp ../*.deb ../*.changes ../*.buildinfo "$out"
ls -l "$out"/*.deb
if command -v lintian >/dev/null; then
    lintian --fail-on error,warning "$out"/*.changes
fi
