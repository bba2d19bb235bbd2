#!/bin/bash
# After a failure: what the cluster held and what was said last. It needs
# kubectl and KUBECONFIG, and works with any cluster:
#   tests/cluster/run.sh tests/cluster/diagnose.sh
set -uo pipefail
exec 2>&1

title() { printf '\n--- %s\n' "$*"; }
k() { kubectl --request-timeout=10s "$@"; }

title "pods"
k get pods --all-namespaces -o wide
title "locks and keys"
k get backendtrusts,apiroutes --all-namespaces -o wide
title "the last 60 events"
k get events --all-namespaces --sort-by=.lastTimestamp | tail -60
k get pods --all-namespaces --no-headers --selector app.kubernetes.io/name=postern 2> /dev/null |
  while read -r namespace pod _; do
    title "the operator's log: $namespace/$pod, its last 200 lines"
    k logs --namespace "$namespace" "$pod" --tail=200
  done

# Pods that neither run ready nor ended well.
k get pods --all-namespaces --no-headers 2> /dev/null |
  awk '{split($3, ready, "/")} !($4 == "Completed" || ($4 == "Running" && ready[1] == ready[2])) {print $1, $2}' |
  while read -r namespace pod; do
    title "$namespace/$pod"
    k describe pod --namespace "$namespace" "$pod" | tail -40
    k logs --namespace "$namespace" "$pod" --all-containers --prefix --tail=20
  done
