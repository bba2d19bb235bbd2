#!/bin/bash
# Asks a cluster for all that Postern's tests need of one, in a namespace that
# is deleted afterwards. It needs kubectl and KUBECONFIG, and works with any cluster:
#   tests/cluster/run.sh tests/cluster/check.sh
# shellcheck disable=SC2317  # 'check' and 'trap' call the functions
set -euo pipefail
cd "$(dirname "$0")"
namespace=postern-check-$$
failed=0

k() { kubectl --namespace "$namespace" "$@"; }
from() { local pod=$1; shift; k exec "$pod" -- timeout 5 wget -O - "$@" 2> /dev/null; }
finish() { kubectl delete namespace "$namespace" --wait=false > /dev/null; }

# check WHAT PATTERN COMMAND...: what the command prints holds the pattern.
check() {
  local what=$1 pattern=$2 seen; shift 2
  if seen=$("$@" 2>&1) && [[ $seen == *$pattern* ]]; then
    echo "ok      $what"
  else
    echo "FAILED  $what: expected '$pattern', seen: $seen"
    failed=$((failed + 1))
  fi
}

port_forward() {
  local said port pid answer
  said=$(mktemp)
  kubectl --namespace "$namespace" port-forward pod/nginx :8080 > "$said" 2> /dev/null &
  pid=$!
  for _ in $(seq 100); do
    port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' "$said")
    [ -z "$port" ] || break
    sleep 0.1
  done
  answer=$(exec 5<> "/dev/tcp/127.0.0.1/$port"; printf 'GET / HTTP/1.0\r\n\r\n' >&5; cat <&5)
  kill "$pid"; rm -f "$said"
  echo "$answer"
}

kubectl create namespace "$namespace" > /dev/null
trap finish EXIT
until k get serviceaccount default > /dev/null 2>&1; do sleep 0.1; done
k apply -f check.yaml > /dev/null
k wait --for=condition=Ready pod/nginx pod/on-the-node --timeout=60s > /dev/null
k wait --for=condition=Available deployment/lighttpd --timeout=60s > /dev/null

pod=$(k get pod --selector app=lighttpd -o 'jsonpath={.items[0].metadata.name}')
ip4=$(k get pod "$pod" -o 'jsonpath={.status.podIPs[0].ip}')
ip6=$(k get pod "$pod" -o 'jsonpath={.status.podIPs[1].ip}')
service4=$(k get service lighttpd -o 'jsonpath={.spec.clusterIPs[0]}')
service6=$(k get service lighttpd -o 'jsonpath={.spec.clusterIPs[1]}')
page='These are the orders.'

check "pod to pod by IPv4" "$page" from nginx "http://$ip4:8080/"
check "pod to pod by IPv6" "$page" from nginx "http://[$ip6]:8080/"
check "Service by IPv4" "$page" from nginx "http://$service4/"
check "Service by IPv6" "$page" from nginx "http://[$service6]/"
check "Service by its name" "$page" from nginx http://lighttpd/
check "Service by its full name" "$page" from nginx "http://lighttpd.$namespace.svc.cluster.local/"
check "node to pod" "$page" from on-the-node "http://$ip4:8080/"
check "node to Service" "$page" from on-the-node "http://$service4/"
check "API server to Service" "$page" k get --raw "/api/v1/namespaces/$namespace/services/lighttpd:80/proxy/"
check "exec" "nginx/" k exec nginx -- nginx -v
check "exec of a reload" "" k exec nginx -- nginx -s reload
check "logs" "server started" k logs deployment/lighttpd
check "port-forward" "200 OK" port_forward
check "a Job that ends beside a native sidecar" "met" k wait --for=condition=Complete job/beside-a-sidecar --timeout=60s
exit $((failed > 0))
