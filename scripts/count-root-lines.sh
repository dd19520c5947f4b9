#!/bin/sh
# Counts first-party lines that can run with uid 0: the broker without the opener, and what it links
# of common/. Blank lines, comments and unit tests do not count.
set -eu
cd "$(dirname "$0")/.."
limit=1500

# Linked by the broker but reached only from other roles: the client library, the tables that an opener reads.
not_root="common/src/(client/|client\.rs|client_link|rule_table|stamp|job_link|lease_link|scanner_link|admin_link|generation|outcome|totals|escape)|broker/src/(opener|dispatcher)/|broker/src/confine|_tests\.rs$"

git ls-files --cached --others --exclude-standard 'broker/src/*.rs' 'common/src/*.rs' |
    grep -Ev "$not_root" |
    while read -r file; do
        printf '%6d %s\n' "$(awk '
            /^#\[cfg\(test\)\]/ { exit }
            /^[[:space:]]*($|\/\/)/ { next }
            { count++ }
            END { print count + 0 }' "$file")" "$file"
    done |
    awk -v limit="$limit" '
        { print; total += $1 }
        END {
            printf "%6d lines that can run as uid 0, limit %d\n", total, limit
            exit total >= limit
        }'
