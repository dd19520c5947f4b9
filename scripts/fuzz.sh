#!/bin/sh
# Builds the fuzz targets and runs each for a bounded time: FUZZ_SECONDS (30), all of them or FUZZ_TARGET.
# What is found lies in target/fuzz-found; new inputs that reach more code are kept in target/fuzz-corpus.
set -eu
cargo=${1:-cargo}
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
targets=${FUZZ_TARGET:-$(ls fuzz/seeds)}
tools=$PWD/target/tools

fail() { echo "fuzz: $*" >&2; exit 2; }
case $seconds in '' | *[!0-9]* | 0) fail "FUZZ_SECONDS must be a number of seconds, not '$seconds'" ;; esac
command -v c++ >/dev/null 2>&1 || fail "missing: c++, a C++ compiler, for libFuzzer. On Debian: apt-get install g++"
for target in $targets; do
    [ -e "fuzz/fuzz_targets/$target.rs" ] || fail "no target '$target'; there are: $(ls fuzz/seeds | tr '\n' ' ')"
done

PATH=$PATH:$tools/bin
if ! command -v cargo-fuzz >/dev/null 2>&1; then
    echo "cargo-fuzz is not there; installing it into target/tools"
    # Not into the build directory of the workspace, whose profile is another one.
    "$cargo" install --quiet --locked --root "$tools" --version 0.13.2 cargo-fuzz ||
        fail "cargo-fuzz cannot be installed (no network?); install it and try again: cargo install cargo-fuzz"
fi

# Coverage and libFuzzer work with the stable compiler; sanitizers would need a nightly one, and find little in
# code without unsafe blocks.
CARGO=$cargo cargo-fuzz build --release --debug-assertions --sanitizer none --target-dir target/fuzz ||
    fail "the fuzz targets cannot be built"
bin=$(ls -d target/fuzz/*/release | head -n 1)

found=0
for target in $targets; do
    # Much more than a few kilobytes makes patterns and conversations slow, and nothing new.
    case $target in
        excludes | client_scan | worker_answers | configuration) longest=4096 ;;
        *) longest=70000 ;;
    esac
    mkdir -p "target/fuzz-corpus/$target" target/fuzz-found
    log=target/fuzz-found/$target.log
    status=0
    "$bin/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len="$longest" \
        -print_final_stats=1 -artifact_prefix="target/fuzz-found/$target-" \
        "target/fuzz-corpus/$target" "fuzz/seeds/$target" >"$log" 2>&1 || status=$?
    awk -v target="$target" '
        /INITED/                           { begun = $4 }
        /cov: /                            { cov = $4; for (i = 1; i <= NF; i++) if ($i == "corp:") corpus = $(i + 1) }
        /stat::number_of_executed_units/   { runs = $2 }
        END { printf "%-26s %11d runs, %5d points (%d at the start), corpus %s\n", target, runs, cov, begun, corpus }' "$log"
    if [ "$status" != 0 ]; then
        found=1
        tail -n 40 "$log"
        echo "fuzz: $target failed; the input is in $(ls -t target/fuzz-found/"$target"-* 2>/dev/null | head -n 1)"
        echo "fuzz: again: $bin/$target FILE; once mended, keep it as fuzz/seeds/$target/found-NAME"
    fi
done
exit "$found"
