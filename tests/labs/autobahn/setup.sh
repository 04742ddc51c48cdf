#!/bin/sh
# Sets up Autobahn's classic fuzzing server: it needs Python 2.7, which Debian bullseye packages.
#
# usage: setup.sh DIRECTORY     (as root; 400 MB; Debian and PyPI are asked for packages)
#
# The directory becomes a small Debian system; nothing outside of it is touched.
# AUTOBAHN_CA_FILE names a certificate store to be used for PyPI, by default the system's.
set -eu

root=${1:?usage: setup.sh DIRECTORY}
mirror=${AUTOBAHN_MIRROR:-http://deb.debian.org/debian}
ca_file=${AUTOBAHN_CA_FILE:-/etc/ssl/certs/ca-certificates.crt}

if [ -x "$root/usr/local/bin/wstest" ]; then
    echo "wstest is there already"
    exit 0
fi

# gcc and the headers build what has no binary wheel for this old Python.
packages=python2.7,python2.7-dev,python-setuptools,gcc,g++,libc6-dev,libffi-dev,libssl-dev
debootstrap --variant=minbase --include="$packages,ca-certificates" bullseye "$root" "$mirror"

# The last pip for Python 2 runs out of its own wheel.
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip download --quiet --no-deps --dest "$wheels" pip==20.3.4
cp "$wheels"/pip-20.3.4*.whl "$root/root/pip.whl.zip"
cp "$ca_file" "$root/root/ca.pem"
cp /etc/resolv.conf "$root/etc/resolv.conf"

# wsaccel's later releases need Python 3 to build; nothing of the caller's environment goes in.
chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root PIP_CERT=/root/ca.pem \
    python2.7 /root/pip.whl.zip/pip install --quiet --no-cache-dir \
    autobahntestsuite==0.8.2 wsaccel==0.6.2
chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin wstest --help >/dev/null
echo "wstest is installed in $root"
