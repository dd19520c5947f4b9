#!/bin/sh
# Builds fdscan once more, with the C library inside, where there is a static one: static.sh CARGO. Loading that library
# and two others is a quarter of the time of `fdscan FILE`. FDSCAN_STATIC=no leaves it as it is.
set -eu
cargo=$1
cd "$(dirname "$0")/.."
[ "${FDSCAN_STATIC:-yes}" != no ] || exit 0
# Rust links with cc, whatever CC says.
case $(cc -print-file-name=libc.a 2>/dev/null) in
/*) ;;
*)
    echo "fdscan: no static C library here (libc6-dev or glibc-static has one); it loads the shared one"
    exit 0
    ;;
esac
"$cargo" rustc --release --locked --package fdbroker-cli --bin fdscan -- -C target-feature=+crt-static || {
    echo "fdscan: it cannot be linked with the static C library; it loads the shared one"
    "$cargo" build --release --locked --workspace --bins
}
chmod a+rx target/release/fdscan
