#!/bin/bash
# Postern beside HAProxy, nginx and Envoy, in a network of their own that ends
# with this script; nothing is installed. Arguments go to the program: see
# README.md. SIDECAR is the sidecar to measure.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
need_root
SIDECAR=${SIDECAR:-$REPO/target/binaries/postern-sidecar}
BENCH=${BENCH:-$REPO/target/release/postern-bench}
for program in "$SIDECAR" "$BENCH"; do
  [ -x "$program" ] || die "there is no $program: 'make bench' builds it"
done
"$CLUSTER_DIR/build.sh" peers
mkdir -p "$REPO/target/bench"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 755 "$SIDECAR" "$work/postern-sidecar"   # a build under way doesn't change it
ulimit -n "$(ulimit -Hn)"
# shellcheck disable=SC2016  # the inner shell expands it
unshare --net --pid --fork --kill-child --mount-proc bash -euc '
  ip link set lo up
  echo "20000 65535" > /proc/sys/net/ipv4/ip_local_port_range
  exec "$@"' - "$BENCH" --sidecar "$work/postern-sidecar" --peers "$(readlink -f "$PARTS/peers")" --out "$REPO/target/bench" "$@"
