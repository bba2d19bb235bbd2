#!/bin/bash
# The tests whose figures don't wobble (src/costs), in a network of their own
# that ends with this script. SIDECAR is the sidecar to measure.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
need_root
export SIDECAR=${SIDECAR:-$REPO/target/binaries/postern-sidecar}
[ -x "$SIDECAR" ] || die "there is no $SIDECAR: 'make binaries' builds it"
ulimit -n "$(ulimit -Hn)"
# shellcheck disable=SC2016  # the inner shell expands it
unshare --net bash -euc 'ip link set lo up; exec "$@"' - \
  cargo test --locked --offline -p postern-bench -- --ignored --nocapture --test-threads=1 "$@"
