#!/bin/sh
# Names what is missing for a build, before the build stumbles over it.
set -u
cargo=${1:-cargo}
status=0

if ! command -v "$cargo" >/dev/null 2>&1; then
    echo "missing: cargo (Rust 1.95 or newer). Install Rust from https://rustup.rs, or add ~/.cargo/bin to PATH." >&2
    status=1
fi
if ! command -v cc >/dev/null 2>&1; then
    echo "missing: cc, a C compiler, which Rust uses as its linker. On Debian: apt-get install gcc libc6-dev" >&2
    status=1
fi
if [ "$(uname -s)" != Linux ]; then
    echo "fdbroker runs on Linux only" >&2
    status=1
fi
exit $status
