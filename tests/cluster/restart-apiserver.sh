#!/bin/bash
# Kills the API server, starts it again and waits until it is ready.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
"$CLUSTER_DIR/component.sh" restart kube-apiserver
wait_for 60 "the API server ($RUN/log/kube-apiserver.log says why)" kubectl get --raw /readyz
say "the API server is ready again"
