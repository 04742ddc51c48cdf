#!/bin/sh
# Installs the real programs that the tests run against, from Debian's packages. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive

packages="zurl nginx-light pushpin mongrel2-core iproute2 util-linux procps"

missing=
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [ "$status" = "ii " ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# The tests start their own instances: keep the packages from starting theirs.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT

apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
