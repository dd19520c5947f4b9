#!/bin/sh
# Installs what was built, or removes exactly that: install.sh install|uninstall OUT PREFIX
# It builds nothing and makes no configuration. Directories stay when files are removed.
set -eu
verb=$1 out=$2 prefix=$3
programs="fdbroker fdscand fdscan fdbrokerctl"
here=$(dirname "$0")/..

# Every file that is installed: what to do with it, mode, where it comes from, where it goes.
each() {
    for program in $programs; do
        case $program in
        fdscan) "$1" 755 "$out/$program" "bin/$program" ;;
        *) "$1" 755 "$out/$program" "sbin/$program" ;;
        esac
        "$1" 644 "$here/completions/$program.bash" "share/bash-completion/completions/$program"
        "$1" 644 "$here/completions/_$program" "share/zsh/site-functions/_$program"
        "$1" 644 "$here/completions/$program.fish" "share/fish/vendor_completions.d/$program.fish"
    done
    for page in "$here"/man/*.[1-8]; do
        "$1" 644 "$page" "share/man/man${page##*.}/${page##*/}"
    done
}

put() {
    install -d "$(dirname "$prefix/$3")"
    install -m "$1" "$2" "$prefix/$3"
    echo "$prefix/$3"
}

remove() {
    rm -f "$prefix/$3"
}

case $verb in
install)
    test -x "$out/fdscan" || {
        echo "nothing is built yet: run make build first (as the user who builds)" >&2
        exit 1
    }
    each put
    ;;
uninstall) each remove ;;
*)
    echo "usage: install.sh install|uninstall OUT PREFIX" >&2
    exit 2
    ;;
esac
