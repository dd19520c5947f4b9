#!/usr/bin/env bash
# Takes one defence away after the other, in a copy of the tree, and shows that a test fails without it. Each
# tests/mutations/*.patch says in its head which defence it removes and which test must fail:
#   Defence: one line
#   Test: arguments of cargo test
# Prints a row of the table in docs/testing.md for each. Needs root, as the tests do, and the space for a second target
# directory.
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-}
root=$PWD
work=$root/target/mutation
tree=$work/tree
export CARGO_TARGET_DIR=$work/target

rm -rf "$tree"
mkdir -p "$tree"
# The engine is not compiled again if it was here.
[ -d "$CARGO_TARGET_DIR" ] || { [ ! -d target/release ] || { mkdir -p "$CARGO_TARGET_DIR" && cp -a target/release "$CARGO_TARGET_DIR/"; }; }
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree" --
cd "$tree"
git init -q . && git add -A && git -c user.name=mutation -c user.email=mutation@localhost commit -qm base

# Whether the tests that a patch names pass. All executables first: whole-system tests start them.
passes() {
    cargo build --release --locked --workspace --bins --examples >"$work/log" 2>&1 || { cat "$work/log" >&2; echo "does not compile" >&2; exit 3; }
    # shellcheck disable=SC2086 # several arguments
    timeout 300 cargo test --release --locked $1 >"$work/log" 2>&1
}

field() { sed -n "s/^$2: //p" "$1" | head -n 1; }

failed=0
echo "| defence taken away | test that fails |"
echo "|---|---|"
for patch in "$root"/tests/mutations/*"$only"*.patch; do
    defence=$(field "$patch" Defence)
    arguments=$(field "$patch" Test)
    name=$(basename "$patch" .patch)
    git apply "$patch" || { echo "$name: does not apply any more; make it anew" >&2; failed=1; continue; }
    if passes "$arguments"; then
        echo "$name: the test passes without the defence: $arguments" >&2
        failed=1
    elif ! grep -q '^test .* FAILED$' "$work/log"; then
        tail -n 20 "$work/log" >&2
        echo "$name: no test failed, something else did" >&2
        failed=1
    else
        place=$(printf '%s\n' "$arguments" | sed -n 's/.*--test \([a-z_]*\).*/\1/p')
        place=${place:-$(printf '%s\n' "$arguments" | sed -n 's/.*-p fdbroker-\([a-z]*\).*/\1/p')}
        tests=$(sed -n "s/^test \(.*::\)\?\([a-z0-9_]*\) \.\.\. FAILED\$/\`$place::\2\`/p" "$work/log" | sort -u | paste -sd, | sed 's/,/, /g')
        echo "| $defence | $tests |"
    fi
    git checkout -q . && git clean -qfd
done
exit $failed
