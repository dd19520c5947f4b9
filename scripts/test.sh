#!/bin/sh
# Runs all tests and tells at the end how many could not run here, and why.
set -u
cargo=${1:-cargo}
cd "$(dirname "$0")/.."

FDBROKER_SKIPS=$(mktemp)
export FDBROKER_SKIPS
trap 'rm -f "$FDBROKER_SKIPS"' EXIT
# Tests that run as another user report their skips too.
chmod 666 "$FDBROKER_SKIPS"

# What a shell starts in the background ignores SIGINT, and so would all that a test starts.
defaults=
env --default-signal=INT,QUIT true 2>/dev/null && defaults='env --default-signal=INT,QUIT'

log=$(mktemp)
# shellcheck disable=SC2086 # two words or none
{ $defaults "$cargo" test --release --locked --workspace --no-fail-fast; echo $? >"$log.status"; } 2>&1 | tee "$log"
status=$(cat "$log.status")

sum() { awk -v word="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1) } END { print n + 0 }' "$log"; }
passed=$(sum passed)
failed=$(sum failed)
skipped=$(sort -u "$FDBROKER_SKIPS" | grep -c .)
rm -f "$log" "$log.status"

echo
if [ "$skipped" -gt 0 ]; then
    echo "Skipped here:"
    sort -u "$FDBROKER_SKIPS" | sed 's/^/  /'
    echo
fi
# A skipped test ends without a failure, so the test runner counts it as passed.
echo "$((passed > skipped ? passed - skipped : 0)) passed, $failed failed, $skipped skipped"
exit "$status"
