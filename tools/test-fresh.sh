#!/bin/sh
# What a newcomer does, on a machine that has Python and make and nothing else: the README's commands
# `make demo` and `make test`, as an ordinary user in a clean Debian. Needs root, for the chroot.
#
#     sh tools/test-fresh.sh [SUITE]
#
# SUITE: bookworm (default) or trixie. The clean system is made once, by debootstrap, in $CACHE.
# What is tried is the last commit.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:-bookworm}
cache=${CACHE:-/var/tmp/zurl-py-debootstrap}
clean=$cache/fresh-$suite
work=$(mktemp -d)
system=$work/system

clean_up() {
    for mount in dev/ptmx dev/pts dev/shm dev proc ""; do umount -l "$system/$mount" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT
inside() { chroot "$system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@" </dev/null; }

if [ ! -e "$clean/made" ]; then
    command -v debootstrap >/dev/null || apt-get install -q -y --no-install-recommends debootstrap
    mkdir -p "$cache"
    rm -rf "$clean"
    debootstrap --variant=minbase --include=ca-certificates,make,python3,python3-venv "$suite" \
        "$clean" "${MIRROR:-http://deb.debian.org/debian}" >"$work/log" || {
        tail "$work/log" >&2
        exit 1
    }
    touch "$clean/made"
fi

# Changes stay in a directory of their own, so that the next trial starts as clean.
mkdir -p "$system" "$work/upper" "$work/overlay"
mount -t overlay -o "lowerdir=$clean,upperdir=$work/upper,workdir=$work/overlay" none "$system"
mount -t proc none "$system/proc"
mount --bind /dev "$system/dev"
mount -t tmpfs none "$system/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 none "$system/dev/pts"
mount --bind "$system/dev/pts/ptmx" "$system/dev/ptmx"
cp /etc/resolv.conf "$system/etc/resolv.conf"
# Whatever this machine trusts when it fetches packages
cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"

inside useradd --create-home newcomer
mkdir "$system/home/newcomer/zurl_py"
git -C "$root" archive HEAD | tar -x -C "$system/home/newcomer/zurl_py"
inside chown -R newcomer: /home/newcomer/zurl_py
for target in demo test; do
    before=$(date +%s)
    inside setpriv --reuid=newcomer --regid=newcomer --init-groups env HOME=/home/newcomer \
        sh -c "ulimit -c 0; exec make -C /home/newcomer/zurl_py $target"
    echo "== $suite: make $target: $(($(date +%s) - before)) s"
done
