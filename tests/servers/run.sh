#!/bin/bash
# nginx, lighttpd and BusyBox's httpd behind the lock: what they answer through the
# sidecar is what they answer without it. All of it runs in namespaces of its own,
# which end with this script; nothing is installed. SIDECAR is the program to test.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
need_root
SIDECAR=${SIDECAR:-$REPO/target/binaries/postern-sidecar}
[ -x "$SIDECAR" ] || die "there is no $SIDECAR: 'make binaries' builds it, or let SIDECAR name another"
for tool in openssl unshare ip python3; do
  command -v "$tool" > /dev/null || die "this test needs '$tool': 'apt-get install openssl util-linux iproute2 python3' brings it"
done
"$CLUSTER_DIR/build.sh" servers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 755 "$SIDECAR" "$work/postern-sidecar"
unshare --mount --net --pid --fork --kill-child --mount-proc \
  "$REPO/tests/servers/inside.sh" "$PARTS/servers" "$work"
