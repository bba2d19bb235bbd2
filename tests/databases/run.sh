#!/bin/bash
# A real MariaDB and a real PostgreSQL behind the lock, called by their own
# clients through a TLS tunnel that holds the key (stunnel). All of it runs in
# namespaces of its own, which end with this script; nothing is installed.
# SIDECAR is the program to test.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
need_root
SIDECAR=${SIDECAR:-$REPO/target/$(uname -m)-unknown-linux-gnu/release/postern-sidecar}
[ -x "$SIDECAR" ] || die "there is no $SIDECAR: 'make binaries' builds it, or let SIDECAR name another"
for tool in openssl unshare ip; do
  command -v "$tool" > /dev/null || die "this test needs '$tool': 'apt-get install openssl util-linux iproute2' brings it"
done
"$CLUSTER_DIR/build.sh" databases
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 755 "$SIDECAR" "$work/postern-sidecar"
unshare --mount --net --pid --fork --kill-child --mount-proc \
  "$REPO/tests/databases/inside.sh" "$PARTS/databases" "$work"
