#!/bin/sh
# A folder with Debian 13's condure, which can be a client; Debian 12's cannot. Needs root and
# debootstrap.
#
#   sh benchmarks/get-condure.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/build/trixie}
[ -x "$folder/usr/bin/condure" ] && exit 0
mirror=$(sed -n 's/^ *URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)
debootstrap --variant=minbase --include=condure trixie "$folder" "${mirror:-http://deb.debian.org/debian}"
