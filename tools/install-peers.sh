#!/bin/sh
# Installs the real programs that the tests run against, from Debian's packages. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive

# program:packages that bring it, where it is not there in whatever way
programs="
    zurl:zurl
    nginx:nginx-light
    caddy:caddy
    pushpin:pushpin
    condure:condure
    mongrel2:mongrel2-core
    m2sh:mongrel2-core
    node:nodejs
    npm:nodejs,npm
    ip:iproute2
    unshare:util-linux
    ps:procps
    man:man-db
    systemd-analyze:systemd
    prometheus:prometheus
    promtool:prometheus
    gcc:gcc,libc6-dev
    pg_ctlcluster:postgresql
    pgbouncer:pgbouncer
    chromium:chromium
    strace:strace
    eatmydata:eatmydata
    faketime:faketime
    curl-config:libcurl4-openssl-dev
"

PATH=$PATH:/usr/sbin:/sbin
missing=
for entry in $programs; do
    command -v "${entry%%:*}" >/dev/null || missing="$missing $(echo "${entry#*:}" | tr , ' ')"
done
[ -e /usr/include/zmq.h ] || missing="$missing libzmq3-dev"
[ -n "$missing" ] || exit 0

# The tests start their own instances: keep the packages from starting theirs.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi

apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
