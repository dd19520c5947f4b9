#!/bin/sh
# Makes the Debian package of what was built: deb.sh CARGO OUT DIRECTORY. Builds nothing but
# cargo-deb, if that is missing, and fdscan with the C library inside.
# DEB_VERSION=0.1.0-2 gives it another version than that of the workspace.
set -eu
cargo=$1 out=$2 directory=$3
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
PATH=$PATH:$tools/bin
if ! command -v cargo-deb >/dev/null 2>&1; then
    echo "cargo-deb is not there; installing it into target/tools"
    "$cargo" install --quiet --locked --root "$tools" --version 3.8.0 cargo-deb || {
        echo "cargo-deb cannot be installed (no network?); install it and try again: cargo install cargo-deb" >&2
        exit 1
    }
fi
test -x "$out/fdscan" || {
    echo "nothing is built yet: run make build first" >&2
    exit 1
}
scripts/static.sh "$cargo"
# Files are as old as the changelog says, so that the same sources and programs give the same package.
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' packaging/debian/changelog | head -n 1)" +%s)
export SOURCE_DATE_EPOCH
mkdir -p "$directory"
"$cargo" deb --no-build --locked --package fdbroker-broker --output "$directory/" \
    ${DEB_VERSION:+--deb-version "$DEB_VERSION"}
