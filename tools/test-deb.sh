#!/bin/sh
# Installs, uses, upgrades, removes and purges the package in a clean Debian, as root.
#
#     sh tools/test-deb.sh [SUITE] [DEB]
#
# SUITE: bookworm (default) or trixie; DEB: the package, which is built in that system if it is not
# given. The clean system is made once, by debootstrap, in $CACHE (/var/tmp/zurl-py-debootstrap).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:-bookworm}
deb=${2:+$(readlink -f "$2")}
cache=${CACHE:-/var/tmp/zurl-py-debootstrap}
clean=$cache/$suite
work=$(mktemp -d)
system=$work/system

clean_up() {
    [ -z "${daemon:-}" ] || kill "$daemon" 2>/dev/null || true
    for mount in proc dev; do umount -l "$system/$mount" 2>/dev/null || true; done
    umount -l "$system" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

say() { echo "== $suite: $*"; }
fail() { say "FAILED: $*" >&2; exit 1; }
inside() { chroot "$system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@" </dev/null; }
install_deb() { inside apt-get install -q -y --no-install-recommends "$@" >"$work/log" 2>&1 || {
    cat "$work/log" >&2; fail "install $*"; }; }

if [ ! -e "$clean/made" ]; then
    mkdir -p "$cache"
    rm -rf "$clean"
    command -v debootstrap >/dev/null || apt-get install -q -y --no-install-recommends debootstrap
    debootstrap --variant=minbase "$suite" "$clean" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$work/log" || { tail "$work/log" >&2; exit 1; }
    printf '#!/bin/sh\nexit 101\n' >"$clean/usr/sbin/policy-rc.d"
    chmod 755 "$clean/usr/sbin/policy-rc.d"
    system=$clean
    inside apt-get update -q >/dev/null
    install_deb ca-certificates systemd-sysv dbus logrotate
    system=$work/system
    touch "$clean/made"
fi

fresh() { # a clean system, changed in memory only
    for mount in proc dev; do umount -l "$system/$mount" 2>/dev/null || true; done
    umount -l "$system" 2>/dev/null || true
    rm -rf "$work/upper" "$work/overlay"
    mkdir -p "$system" "$work/upper" "$work/overlay"
    mount -t overlay -o "lowerdir=$clean,upperdir=$work/upper,workdir=$work/overlay" none "$system"
    mount -t proc none "$system/proc"
    mount --bind /dev "$system/dev"
    cp /etc/resolv.conf "$system/etc/resolv.conf"
    [ -z "$deb" ] || cp "$deb" "$system/root/zurl-py.deb"
}

build() { # in the clean system, whose Python it then fits
    fresh
    mkdir "$system/root/src"
    git -C "$root" archive HEAD | tar -x -C "$system/root/src"
    # Whatever this machine trusts when it fetches packages
    cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
    inside env OUT=/root/out sh /root/src/tools/build-deb.sh >"$work/build.log" 2>&1 || {
        tail -n 40 "$work/build.log" >&2; fail "build"; }
    cp "$system"/root/out/* "$work/"
    deb=$(ls "$work"/zurl-py_*.deb)
    say "built $(basename "$deb")"
}

files() { # all but what any installation touches, and the user, which Debian keeps
    (cd "$system" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./var/cache \
        -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/log/apt \
        -o -path ./var/lib/systemd -o -path ./tmp \) -prune -o -print) |
        grep -v -E '^\./(etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/\.pwd\.lock|var/log/(dpkg|alternatives)\.log)$' |
        sort
}

start_daemon() {
    inside systemd-tmpfiles --create zurl-py.conf
    chroot "$system" setpriv --reuid zurl --regid zurl --clear-groups --no-new-privs \
        env -i PATH=/usr/bin:/bin "$@" --config=/etc/zurl.conf </dev/null >"$work/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do
        [ -S "$system/run/zurl/zurl-in" ] && return
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/daemon.log" >&2
    fail "the daemon did not start"
}

stop_daemon() {
    kill -TERM "$daemon"
    wait "$daemon" || { cat "$work/daemon.log" >&2; fail "exit status $? on SIGTERM"; }
    daemon=
    [ ! -e "$system/run/zurl/zurl-in" ] || fail "a socket stayed behind"
}

[ -n "$deb" ] || build

say "install, use, remove, purge"
fresh
# What it depends on is there before, so that only the package itself is compared.
inside apt-get satisfy -q -y --no-install-recommends "$(dpkg-deb -f "$deb" Depends)" \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "dependencies"; }
files >"$work/before"
install_deb /root/zurl-py.deb
inside dpkg --audit
python3 "$root/tools/check_links.py" "$system/usr/share/doc/zurl-py" || fail "links in the documentation"
inside zurl --version
inside zurl-py check-config --quiet --strict
inside zurl-py version --verbose
[ "$(inside stat -c %U:%G /run/zurl 2>/dev/null || echo zurl:zurl)" = zurl:zurl ] || fail "owner"
start_daemon zurl-py serve
[ "$(inside stat -c %a:%U:%G /run/zurl/zurl-req)" = 660:zurl:zurl ] || fail "mode of a socket"
cp "$root/debian/tests/client.py" "$system/root/"
inside useradd worker
cp "$system/root/client.py" "$system/tmp/client.py"
! inside setpriv --reuid worker --regid worker --init-groups \
    python3 -IS /tmp/client.py refused 2>/dev/null || fail "a stranger may use the sockets"
inside usermod --append --groups zurl worker
inside setpriv --reuid worker --regid worker --init-groups python3 -IS /tmp/client.py refused
inside userdel worker
stop_daemon
sed -i 's/^allow=.*/allow=127.0.0.1/' "$system/etc/zurl.conf"
start_daemon zurl
inside python3 -IS /root/client.py request websocket
stop_daemon
rm "$system/root/client.py"
inside logrotate --debug /etc/logrotate.d/zurl >/dev/null 2>&1 || fail "logrotate"

say "a changed configuration survives an upgrade and a removal"
cp "$system/etc/zurl.conf" "$work/changed.conf"
mkdir -p "$work/newer"
dpkg-deb -R "$deb" "$work/newer"
sed -i 's/^Version: .*/&+newer/' "$work/newer/DEBIAN/control"
echo "# changed upstream" >>"$work/newer/etc/zurl.conf"
dpkg-deb --root-owner-group -b "$work/newer" "$system/root/newer.deb" >/dev/null
install_deb -o Dpkg::Options::=--force-confold /root/newer.deb
cmp "$system/etc/zurl.conf" "$work/changed.conf" || fail "the upgrade changed zurl.conf"
inside zurl-py version >/dev/null
inside apt-get remove -q -y zurl-py >/dev/null 2>&1
cmp "$system/etc/zurl.conf" "$work/changed.conf" || fail "the removal changed zurl.conf"
[ ! -e "$system/usr/lib/zurl-py" ] || fail "the removal left files"
inside apt-get purge -q -y zurl-py >/dev/null 2>&1
rm -f "$system/root/newer.deb"
files >"$work/after"
diff "$work/before" "$work/after" || fail "purge left something behind"

say "Debian's zurl gives way, its configuration stays; pushpin is content"
for change in "" "s/^max_open_requests=.*/max_open_requests=77/"; do
    fresh
    install_deb zurl
    sed -i "$change" "$system/etc/zurl.conf"
    cp "$system/etc/zurl.conf" "$work/theirs.conf"
    install_deb /root/zurl-py.deb
    cmp "$system/etc/zurl.conf" "$work/theirs.conf" || fail "zurl.conf was changed"
    [ "$(inside dpkg-query -W -f '${db:Status-Abbrev}' zurl)" = "rc " ] || fail "zurl is still there"
    inside zurl-py check-config --quiet
    # Debian's rules leave the metadata service open, which a strict look does not let pass.
    ! inside zurl-py check-config --quiet --strict 2>"$work/open" || fail "strict, and content"
    grep -q '@metadata' "$work/open" || fail "nothing is said of what is open"
    inside apt-get purge -q -y zurl >/dev/null 2>&1
    cmp "$system/etc/zurl.conf" "$work/theirs.conf" || fail "purging zurl took our zurl.conf"
    start_daemon zurl
    inside python3 -IS -c 'import sys; sys.path.append("/usr/lib/zurl-py"); import zmq'
    stop_daemon
    if ! inside apt-cache show pushpin 2>/dev/null | grep -q '^Package: '; then
        say "(this suite has no pushpin)"
        continue
    fi
    inside apt-get install -q -y --no-install-recommends --simulate pushpin >"$work/log"
    ! grep -q '^Inst zurl ' "$work/log" || fail "pushpin pulls in Debian's zurl"
    ! grep -q '^Remv zurl-py ' "$work/log" || fail "pushpin removes zurl-py"
done
inside apt-get purge -q -y zurl-py >/dev/null 2>&1
[ ! -e "$system/etc/zurl.conf" ] || fail "purge left zurl.conf"

say "every order of install, going back, remove and purge"
fresh
python3 "$root/tools/deb_orders.py" "$system" /root/zurl-py.deb || fail "an order"

say "as a service of systemd, under its unit's restrictions"
command -v systemd-nspawn >/dev/null ||
    apt-get install -q -y --no-install-recommends systemd-container >/dev/null
fresh
rm "$system/usr/sbin/policy-rc.d"
install_deb /root/zurl-py.deb
for mount in proc dev; do umount -l "$system/$mount"; done
mkdir "$system/root/tests"
cp "$root"/debian/tests/* "$system/root/tests/"
cat >"$system/etc/systemd/system/trial.service" <<'END'
[Unit]
After=zurl.service

[Service]
Type=oneshot
StandardOutput=append:/root/trial
StandardError=append:/root/trial
ExecStart=sh /root/tests/requests
ExecStart=sh -c 'echo good > /root/good'
ExecStopPost=systemctl show -p Result,NRestarts,StatusErrno zurl.service
ExecStopPost=journalctl --no-pager --output=cat --unit=zurl.service
ExecStopPost=systemctl poweroff --no-block

[Install]
WantedBy=multi-user.target
END
inside systemctl enable trial.service 2>/dev/null
timeout 300 systemd-nspawn --quiet --directory="$system" --boot --register=no --keep-unit \
    </dev/null >"$work/boot.log" 2>&1 || true
[ -e "$system/root/good" ] || { cat "$work/boot.log" "$system/root/trial" >&2; fail "the service"; }
grep ': good$' "$system/root/trial"

say "all good"
