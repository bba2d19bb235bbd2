#!/bin/bash
# After a failure: what the cluster held and what was said last. It needs
# kubectl and KUBECONFIG, and works with any cluster:
#   tests/cluster/run.sh tests/cluster/diagnose.sh
set -uo pipefail

title() { printf '\n--- %s\n' "$*"; }
k() { kubectl --request-timeout=10s "$@" 2>&1; }

title "pods"
k get pods --all-namespaces -o wide
title "locks and keys"
k get backendtrusts,apiroutes --all-namespaces -o wide
title "the last 60 events"
k get events --all-namespaces --sort-by=.lastTimestamp | tail -60
title "the operator's log, its last 200 lines of each replica"
k logs --all-namespaces --selector app.kubernetes.io/name=postern --all-containers --prefix --tail=200

# Pods that neither run ready nor ended well.
k get pods --all-namespaces --no-headers |
  awk '{split($3, ready, "/")} !($4 == "Completed" || ($4 == "Running" && ready[1] == ready[2])) {print $1, $2}' |
  while read -r namespace pod; do
    title "$namespace/$pod"
    k describe pod --namespace "$namespace" "$pod" | tail -40
    k logs --namespace "$namespace" "$pod" --all-containers --prefix --tail=20
  done
