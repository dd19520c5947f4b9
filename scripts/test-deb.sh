#!/bin/bash
# Installs the Debian package in a root of its own, uses, upgrades and purges it: test-deb.sh OLD.deb NEW.deb
# As root, with mmdebstrap or debootstrap, and a mirror ($DEBIAN_MIRROR); or with a copy of $DEBIAN_ROOT, a minimal
# Debian 12 with systemd that was made before. Leaves nothing behind.
# Exit status 77: this machine cannot make such a root, or boot it; the last line says why.
#
# Without systemd as process 1 the commands of the units are run by hand, behind systemd-socket-activate. Where
# systemd-nspawn is installed, systemd then runs the units themselves.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if [ "$1" != --inside ]; then
    exec unshare --mount "$0" --inside "$@"
fi
old=$(realpath "$2") new=$(realpath "$3")

# In memory, so that nothing waits for a disk; and gone with the last process of this script.
work=$(mktemp -d /tmp/fdbroker-deb-XXXXXX)
container=
cleanup() {
    if [ -n "$container" ]; then
        # What it boots ends with it.
        kill "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
    fi
    umount --lazy "$work"
    rmdir "$work"
}
mount -t tmpfs -o mode=755 tmpfs "$work"
trap cleanup EXIT

skip() { echo "$*"; exit 77; }

root=$work/root
echo "== a root of Debian 12"
if [ -n "${DEBIAN_ROOT:-}" ]; then
    cp -a "$DEBIAN_ROOT" "$root"
elif command -v mmdebstrap >/dev/null; then
    mmdebstrap --quiet --variant=minbase --include=systemd bookworm "$root" "$mirror" >"$work/log" 2>&1 ||
        skip "no root could be made from $mirror: $(tail -n 1 "$work/log")"
else
    debootstrap --variant=minbase --include=systemd bookworm "$root" "$mirror" >"$work/log" 2>&1 ||
        skip "no root could be made from $mirror: $(tail -n 1 "$work/log")"
fi
cp "$old" "$root/root/old.deb"
cp "$new" "$root/root/new.deb"
cp "$here/test-deb-inside.sh" "$root/root/inside.sh"
if command -v systemd-nspawn >/dev/null; then
    cp -a "$root" "$work/boot"
fi

echo "== without systemd as process 1"
# shellcheck disable=SC2016 # for the shell inside
unshare --mount --pid --fork --kill-child bash -ec '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mount -t tmpfs -o mode=755 tmpfs "$0/run"
    mount -t tmpfs tmpfs "$0/tmp"
    exec chroot "$0" /bin/bash /root/inside.sh by-hand' "$root"

command -v systemd-nspawn >/dev/null || {
    echo "== not tried: the units with systemd as process 1, which needs systemd-nspawn"
    exit 0
}
echo "== with systemd as process 1"
# The seccomp filter of older versions of nspawn knows no Landlock.
SYSTEMD_SECCOMP=0 systemd-nspawn --quiet --directory="$work/boot" --boot --register=no --keep-unit \
    --private-network --console=pipe </dev/null >"$work/console" 2>&1 &
container=$!
init=
for _ in $(seq 300); do
    kill -0 "$container" 2>/dev/null || break
    init=$(cat "/proc/$container/task/$container/children" 2>/dev/null | cut -d ' ' -f 1)
    [ -n "$init" ] && nsenter --target "$init" --all systemctl is-system-running 2>/dev/null |
        grep -qE 'running|degraded' && break
    init=
    sleep 0.2
done
[ -n "$init" ] || {
    tail -n 20 "$work/console"
    echo "== not tried: systemd does not come up in a container here"
    exit 0
}
nsenter --target "$init" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin bash /root/inside.sh units
