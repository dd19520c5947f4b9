#!/bin/sh
# Counts first-party lines of code that can run with uid 0: the broker and the start of its children, and
# what they link of common/. Blank lines, comments, imports, module declarations and unit tests do not count.
set -eu
cd "$(dirname "$0")/.."
limit=1500

# Reached only after the change of identity, or never by root's broker: the other roles, the links that they
# speak, and the client library. The probes run in processes that are no broker's: fdbrokerctl starts them.
common='limits/|client/|client\.rs|client_link|details|eagerness|histogram|rule_table|stamp|job_link|lease_link|scanner_link|admin_link|generation|outcome|totals|escape|explanation|inherited|probe'
broker='configuration/|opener/|dispatcher/|auditor/|confine|rules|reader_link|record_link|explain_walk|probe'
others="^common/src/($common)|^broker/src/($broker)|_tests\.rs\$"

git ls-files --cached --others --exclude-standard 'broker/src/*.rs' 'common/src/*.rs' |
    grep -Ev "$others" |
    while read -r file; do
        [ ! -e "$file" ] || printf '%s %s\n' "$file" "$(awk '
            /^#\[cfg\(test\)\]/ { exit }
            /^[[:space:]]*($|\/\/)/ { next }
            import || /^(pub )?(use|mod) / { imports++; import = !/;$/; next }
            { code++ }
            END { print code + 0, imports + 0 }' "$file")"
    done |
    awk -v limit="$limit" '
        { printf "%6d %s\n", $2, $1; code += $2; imports += $3 }
        END {
            printf "%6d lines that can run as uid 0 (and %d of imports); the limit is %d\n", code, imports, limit
            exit code >= limit
        }'
