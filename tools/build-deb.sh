#!/bin/sh
# Builds the Debian package from the last commit, in a temporary directory.
# The result goes to $OUT (default: dist/). What is missing for the build is installed, as root: what
# debian/control asks for, and lintian, without whose word nothing leaves here.
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
missing=
for command in fakeroot:fakeroot lintian:lintian make:build-essential; do
    command -v "${command%%:*}" >/dev/null || missing="$missing ${command#*:}"
done
if ! dpkg-checkbuilddeps 2>"$work/unmet"; then
    missing="$missing $(sed 's/.*: error: //' "$work/unmet" | tr '\n' ' ')"
    builddeps=yes
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "build-deb: missing:$missing. Install it, or run this as root." >&2
        exit 1
    fi
    echo "build-deb: installs what is missing:$missing"
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends fakeroot lintian build-essential
    [ -z "${builddeps:-}" ] || apt-get build-dep -q -y --no-install-recommends .
fi
# Files get the changelog's date, so that the same tree gives the same package.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -S Timestamp)
export SOURCE_DATE_EPOCH
dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
# Overrides are for the lintians of several Debians: a tag may be unknown to one.
lintian --suppress-tags alien-tag --fail-on error,warning ../*.changes
mkdir -p "$out"
cp ../*.deb ../*.changes ../*.buildinfo "$out"
ls -l "$out"/*.deb
