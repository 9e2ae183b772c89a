#!/bin/sh
# Checks the packages as far as this machine allows. Says what it left out.
#   packaging/check.sh target/debug/leveret
set -eu
leveret=${1:?usage: packaging/check.sh PATH-OF-LEVERET}
here=$(dirname "$0")
failed=0
check() {
    what=$1
    shift
    if "$@" >"$log" 2>&1; then echo "ok: $what"; else echo "FAILED: $what"; cat "$log"; failed=1; fi
}
log=$(mktemp)
trap 'rm -rf "$log" "$dir"' EXIT
dir=$(mktemp -d)

check "the shipped configuration" "$leveret" config check "$here/debian/leveret.conf"
check "the image's configuration" "$leveret" config check "$here/docker/10-defaults.conf"
# Every line that is commented out in the shipped file must be right, too.
sed -n 's/^# \([a-z_.]* = .*\)/\1/p' "$here/debian/leveret.conf" >"$dir/all.conf"
check "its examples" "$leveret" config check "$dir/all.conf"
for script in "$here"/debian/postinst "$here"/debian/postrm; do
    check "$(basename "$script")" sh -n "$script"
done
if command -v systemd-analyze >/dev/null; then
    # The unit names the installed binary; for the check it is this one.
    binary=$(realpath "$leveret")
    for unit in leveret.service leveret.socket; do
        sed "s|/usr/bin/leveret|$binary|" "$here/systemd/$unit" >"$dir/$unit"
    done
    check "systemd units" systemd-analyze verify "$dir/leveret.service" "$dir/leveret.socket"
else
    echo "left out: systemd units, for there is no systemd-analyze"
fi
if command -v cargo-deb >/dev/null; then
    check "Debian package" cargo deb -p leveret --no-build --no-strip --output "$dir"
    check "its contents" dpkg-deb -I "$dir"/*.deb
    if command -v lintian >/dev/null; then check "lintian" lintian --fail-on error "$dir"/*.deb; fi
else
    echo "left out: Debian package, for there is no cargo-deb"
fi
exit "$failed"
