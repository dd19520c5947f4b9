#!/bin/sh
# Installs what was built, or removes exactly that: install.sh install|uninstall OUT DESTDIR PREFIX
# It builds, enables and starts nothing. A configuration that is there stays, and is removed only if it is unchanged.
# Directories stay when files are removed.
set -eu
verb=$1 out=$2 destdir=$3 prefix=$4
here=$(dirname "$0")/..
config=$destdir/etc/fdbroker/fdbroker.toml

# Every file that is installed: what to do with it, mode, where it comes from, where it goes.
each() {
    for program in fdbroker fdscand fdscan fdbrokerctl; do
        case $program in
        fdscan | fdbrokerctl) "$1" 755 "$out/$program" "bin/$program" ;;
        *) "$1" 755 "$out/$program" "sbin/$program" ;;
        esac
        "$1" 644 "$here/completions/$program.bash" "share/bash-completion/completions/$program"
        "$1" 644 "$here/completions/_$program" "share/zsh/site-functions/_$program"
        "$1" 644 "$here/completions/$program.fish" "share/fish/vendor_completions.d/$program.fish"
    done
    for page in "$here"/man/*.[1-8]; do
        "$1" 644 "$page" "share/man/man${page##*.}/${page##*/}"
    done
    for unit in "$here"/systemd/*.service "$here"/systemd/*.socket; do
        "$1" 644 "$unit" "lib/systemd/system/${unit##*/}"
    done
    "$1" 644 "$here/systemd/fdbroker.sysusers" lib/sysusers.d/fdbroker.conf
    "$1" 644 "$here/systemd/fdbroker.tmpfiles" lib/tmpfiles.d/fdbroker.conf
}

put() {
    to=$destdir$prefix/$3
    install -d "$(dirname "$to")"
    case $2 in
    # They name the programs where the package has them.
    *.service) sed "s|/usr/\(s\{0,1\}bin/fd\)|$prefix/\1|" "$2" | install -m "$1" /dev/stdin "$to" ;;
    *) install -m "$1" "$2" "$to" ;;
    esac
    echo "$to"
}

remove() {
    rm -f "$destdir$prefix/$3"
}

case $verb in
install)
    test -x "$out/fdscan" || {
        echo "nothing is built yet: run make build first (as the user who builds)" >&2
        exit 1
    }
    each put
    if [ ! -e "$config" ]; then
        install -d "${config%/*}"
        install -m 644 "$here/etc/fdbroker.toml" "$config"
        echo "$config"
    fi
    ;;
uninstall)
    each remove
    if cmp -s "$here/etc/fdbroker.toml" "$config"; then rm -f "$config"; fi
    ;;
*)
    echo "usage: install.sh install|uninstall OUT DESTDIR PREFIX" >&2
    exit 2
    ;;
esac
