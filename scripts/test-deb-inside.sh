#!/bin/bash
# The part of test-deb.sh that runs in the Debian root: inside.sh by-hand|units
set -euo pipefail
mode=$1
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
cd /root

fail() {
    echo "FAILED: $*" >&2
    [ "$mode" != units ] || journalctl --no-pager --lines=40 --output=cat >&2
    exit 1
}
# What a unit has for a key.
unit() { sed -n "s/^$2=//p" "/usr/lib/systemd/system/$1"; }
run() { "$@" >/root/log 2>&1 || { cat /root/log >&2; fail "$*"; }; }
names() { find / -xdev \( -iname '*fdbroker*' -o -iname '*fdscan*' \) -not -path '/proc/*' | sort; }

# --- processes, by hand or by systemd

start() {
    [ "$mode" = by-hand ] || return 0
    # shellcheck disable=SC2046 # words
    systemd-socket-activate --seqpacket "--fdname=$(unit fdbroker.socket FileDescriptorName)" \
        "--listen=$(unit fdbroker.socket ListenSequentialPacket)" $(unit fdbroker.service ExecStart) 2>>/root/broker &
    broker=$!
    # shellcheck disable=SC2046
    setpriv "--reuid=$(unit fdscand.service User)" "--regid=$(unit fdscand.service User)" --clear-groups \
        --no-new-privs $(unit fdscand.service ExecStart) 2>>/root/scanner &
    scanner=$!
    for _ in $(seq 600); do [ -S /run/fdbroker/client.sock ] && break; sleep 0.1; done
    chmod "$(unit fdbroker.socket SocketMode)" /run/fdbroker/client.sock
}
stop() {
    [ "$mode" = by-hand ] || return 0
    kill "$broker" "$scanner"
    wait "$broker" || fail "the broker ended with $?: $(cat /root/broker)"
    wait "$scanner" || true
    # It was the socket of systemd-socket-activate.
    rm -f /run/fdbroker/client.sock
}
reload() {
    if [ "$mode" = units ]; then systemctl reload fdbroker; else $(unit fdbroker.service ExecReload) >/dev/null; fi
}

# --- scans

expect() { # user, exit status, what fdscan is to say, its arguments
    local user=$1 status=$2 words=$3 got=0 said
    shift 3
    said=$(runuser -u "$user" -- timeout 60 fdscan "$@" 2>&1) || got=$?
    [ "$got" = "$status" ] && grep -qF "$words" <<<"$said" || fail "$user: fdscan $*: status $got: $said"
}
# While a command runs, three users ask without a pause.
under_load() {
    local name asked=0
    rm -f /tmp/stop /tmp/asked.* /tmp/failed.*
    for name in root joe ann; do
        (
            count=0
            while [ ! -e /tmp/stop ]; do
                got=0
                said=$(runuser -u "$name" -- timeout 60 fdscan /home/joe/eicar /etc/hostname 2>&1) || got=$?
                count=$((count + 1))
                [ "$got" = 1 ] && grep -q '/eicar: EICAR_Test_File FOUND' <<<"$said" &&
                    grep -q '/hostname: OK' <<<"$said" || echo "$got: $said" >>"/tmp/failed.$name"
            done
            echo "$count" >"/tmp/asked.$name"
        ) &
        askers+=($!)
    done
    "$@"
    touch /tmp/stop
    wait "${askers[@]}"
    askers=()
    for name in root joe ann; do
        [ ! -e "/tmp/failed.$name" ] || fail "requests failed during $*: $(cat "/tmp/failed.$name")"
        asked=$((asked + $(cat "/tmp/asked.$name")))
    done
    [ "$asked" -gt 0 ] || fail "nobody asked"
    echo "$asked requests during: $*: none failed"
}
askers=()
times() { for _ in $(seq "$1"); do "${@:2}"; done; }
generation() { fdbrokerctl status | sed -n 's/.*generation \([0-9a-f]*\).*/\1/p'; }

# --- the way of a package

useradd --create-home joe
useradd --create-home ann
[ -z "$(names)" ] || fail "not a clean root: $(names)"
hostname=$(cat /etc/hostname 2>/dev/null || true)
[ -n "$hostname" ] || echo test >/etc/hostname
printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-' 'STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' >/home/joe/eicar
echo secret >/home/ann/secret
chown ann: /home/ann/secret
chmod 600 /home/ann/secret
chmod 755 /home/ann /home/joe

run apt-get install --yes /root/old.deb
getent passwd fdbroker-scanner >/dev/null || fail "no user"
[ "$(stat -c '%U %a' /run/fdbroker)" = "root 755" ] || fail "runtime directory"
[ -d /etc/fdbroker/rules.d ] || fail "no directory of rules"
start
expect root 1 "/home/joe/eicar: EICAR_Test_File FOUND" /home
expect root 0 "/home/ann/secret: OK" /home/ann
expect joe 1 "/home/joe/eicar: EICAR_Test_File FOUND" /home/joe
expect joe 2 "/home/ann/secret: permission denied DENIED" /home/ann
expect joe 0 "/etc/os-release: OK" --follow /etc/os-release
fdbrokerctl ping | grep '^EICAR found' >/dev/null || fail "ping"
run fdbrokerctl self-test
echo "installed, scanned as root and as users, $(tail -n 1 /root/log)"

echo 'rule mine { strings: $a = "never there" condition: $a }' >/etc/fdbroker/rules.d/mine.yar
under_load times 10 reload
echo 'rule bad {' >/etc/fdbroker/rules.d/bad.yar
! reload 2>/dev/null || fail "bad rules are no failure"
rm /etc/fdbroker/rules.d/bad.yar
if [ "$mode" = units ]; then
    under_load times 3 systemctl restart fdbroker.service
    under_load times 3 systemctl restart fdscand.service
    systemctl reset-failed
fi

before=$(generation)
echo '# changed by the administrator' >>/etc/fdbroker/fdbroker.toml
under_load run apt-get install --yes /root/new.deb
[ "$(dpkg-query -W -f '${Version}' fdbroker)" = "$(dpkg-deb -f /root/new.deb Version)" ] || fail "not upgraded"
stop
start
expect joe 1 FOUND /home/joe/eicar
grep -q 'changed by the administrator' /etc/fdbroker/fdbroker.toml || fail "configuration lost"
[ "$(generation)" = "$before" ] || fail "generation $before became $(generation)"
echo "upgraded, configuration and generation are as before"

stop
run apt-get remove --yes fdbroker
[ -e /etc/fdbroker/fdbroker.toml ] && [ -e /etc/fdbroker/rules.d/mine.yar ] || fail "remove took configuration or rules"
run apt-get install --yes /root/new.deb
grep -q 'changed by the administrator' /etc/fdbroker/fdbroker.toml || fail "configuration lost"
start
expect joe 1 FOUND /home/joe/eicar
stop
run apt-get purge --yes fdbroker
[ ! -e /run/fdbroker ] || fail "left: /run/fdbroker"
# The cache of apt and this script's own files are none of the package's.
left=$(names)
[ -z "$left" ] || fail "left: $left"
! getent passwd fdbroker-scanner || fail "the user is left"
! grep -l fdb /proc/[0-9]*/comm 2>/dev/null || fail "processes are left"
echo "removed, installed again, purged: nothing is left"
