#!/bin/bash
# Shows the main job for real: broker as root, scanner as nobody, fdscan for everyone; then stops
# everything and leaves nothing behind. Without root it uses sudo if that works without a password
# prompt or from a terminal, else it shows the rootless form and says so.
set -euo pipefail
out=$(cd "$1" && pwd)
dir=$2

if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo true; }; }; then
        exec sudo "$0" "$out" "$dir"
    fi
    rootless=1
else
    rootless=
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
# Runs a command, shows it, and insists on its exit code.
expect() {
    local want=$1 shown=$2 got=0
    shift 2
    echo "\$ $shown"
    "$@" || got=$?
    echo "(exit code $got)"
    [ "$got" = "$want" ] || fail "exit code $got where $want belongs"
}

run=$(mktemp -d /tmp/fdbroker-demo.XXXXXX)
broker= scanner=
stop() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "$scanner" ] || kill "$scanner" 2>/dev/null || true
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    wait 2>/dev/null || true
    [ "$status" = 0 ] || sed 's/^/  log: /' "$run"/*.log 2>/dev/null || true
    rm -rf "$run"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Written in two halves, so that no scanner takes this script for the thing itself.
eicar() { printf '%s%s' 'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD' '-ANTIVIRUS-TEST-FILE!$H+H*'; }

# Waits for the broker to serve; its socket appears only then.
await() {
    local i
    for ((i = 0; i < 600; i++)); do
        [ -S "$1" ] && return
        kill -0 "$broker" 2>/dev/null || fail "the broker ended"
        sleep 0.05
    done
    fail "the broker does not serve after 30 seconds"
}

if [ -n "$rootless" ]; then
    say "No root and no sudo here: this shows the rootless form, a broker of your own"
    mkdir "$run/files"
    echo 'nothing to see' >"$run/files/clean.txt"
    eicar >"$run/files/eicar.com"
    say "fdscan starts a private broker and a sealed scanner, scans, and leaves nothing behind"
    expect 1 "fdscan DIR" "$out/fdscan" --private "$run/files"
    say "A real directory: $dir"
    "$out/fdscan" --private -i "$dir" || echo "(exit code $?)"
    exit 0
fi

# The roles are started by descriptor, so that their users need no way to the executables.
exec 7<"$out/fdscand" 8<"$out/fdscan"
as() { local uid=$1; shift; setpriv --reuid "$uid" --regid "$uid" --clear-groups -- "$@"; }
nobody=$(id -u nobody)
user=2000
chmod 755 "$run"
mkdir -m 755 "$run/run" "$run/root" "$run/user"

say "Broker (root) and scanner (nobody), two processes started apart"
echo "# fdbroker --runtime-dir $run/run"
"$out/fdbroker" --runtime-dir "$run/run" 2>"$run/broker.log" &
broker=$!
echo "# sudo -u nobody fdscand --runtime-dir $run/run"
# exec: the process to stop later is fdscand itself.
(cd / && exec setpriv --reuid "$nobody" --regid "$(id -g nobody)" --clear-groups -- \
    /proc/self/fd/7 --runtime-dir "$run/run") 2>"$run/scanner.log" &
scanner=$!
await "$run/run/client.sock"
ps -o pid,ppid,user,comm --pid "$broker" --ppid "$broker" --pid "$scanner" --ppid "$scanner"

say "Files: two that only root may read, one of an ordinary user"
echo 'root only, harmless' >"$run/root/clean.txt"
eicar >"$run/root/eicar.com"
chmod 600 "$run"/root/*
echo 'mine' >"$run/user/mine.txt"
chmod 600 "$run/user/mine.txt"
chown -R "$user:$user" "$run/user"
ls -ln "$run/root" "$run/user"

say "nobody, as whom the scanner runs, cannot open root's files"
for file in clean.txt eicar.com; do
    if as "$nobody" cat "$run/root/$file" 2>/dev/null; then fail "nobody could read $file"; fi
    echo "\$ sudo -u nobody cat $run/root/$file: permission denied"
done

cd /
fdscan=(/proc/self/fd/8 --runtime-dir "$run/run")
say "root asks: the scanner judges what it cannot open, by the descriptors that it is passed"
expect 1 "sudo fdscan $run/root" "${fdscan[@]}" "$run/root"

say "An ordinary user asks for root's file: denied"
expect 2 "fdscan $run/root/clean.txt" as "$user" "${fdscan[@]}" "$run/root/clean.txt"

say "The same user asks for a file of their own: scanned"
expect 0 "fdscan $run/user" as "$user" "${fdscan[@]}" "$run/user"

say "A real directory: $dir"
echo "\$ sudo fdscan -i $dir"
"${fdscan[@]}" -i "$dir" || echo "(exit code $?)"

say "Done; everything is stopped and removed"
