#!/bin/bash
# Runs a command in the cluster's network, with the host's files:
#   run.sh COMMAND [ARGUMENT...]
# It finds KUBECONFIG, POSTERN_LOAD_IMAGE and, in PATH, kubectl and helm.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
need_root
[ $# -gt 0 ] || die "usage: run.sh COMMAND [ARGUMENT...]"
init=$(init_pid) || die "the cluster '$NAME' is not up: 'make cluster-up' starts it"
export KUBECONFIG=$ADMIN_KUBECONFIG PATH=$PARTS/bin:$PATH
export POSTERN_LOAD_IMAGE=$CLUSTER_DIR/load-image.sh
exec nsenter --net="/proc/$init/ns/net" -- "$@"
