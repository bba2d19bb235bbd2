#!/usr/bin/env bash
# Checks the chart: lints it, renders it with each file of ci/, lets an API server validate every rendered object
# (a server-side dry run, unknown fields refused), and demands that senseless values are refused with their place.
#   KUBECONFIG=… charts/postern/check.sh
set -euo pipefail

chart=$(cd "$(dirname "$0")" && pwd)
ns=postern-render-$RANDOM$RANDOM
work=$(mktemp -d)
made=("$ns")
trap 'rm -rf "$work"; kubectl delete namespace "${made[@]}" --wait=false >/dev/null 2>&1 || true' EXIT
kubectl create namespace "$ns" >/dev/null
# A dry run makes no account, and the API server admits no pod (of `helm test`) without its own.
kubectl create serviceaccount postern-operator --namespace "$ns" >/dev/null
# The gateways' namespace of ci/.
if kubectl create namespace gateways >/dev/null 2>&1; then made+=(gateways); fi

echo '{}' >"$work/defaults.yaml"
for values in "$work/defaults.yaml" "$chart"/ci/*.yaml; do
  name=$(basename "$values" .yaml)
  helm lint --strict --quiet "$chart" --values "$values"
  helm template postern "$chart" --namespace "$ns" --values "$values" >"$work/rendered.yaml"
  # The CRDs may be an installed release's; a dry run that takes them over changes nothing.
  kubectl apply --server-side --dry-run=server --force-conflicts --validate=strict \
    --filename "$work/rendered.yaml" >"$work/answer"
  echo "chart: $(wc -l <"$work/answer") objects rendered with $name, all valid"
done

refused=0
# refuse PART VALUES: rendering with these values must fail and say PART.
refuse() {
  local answer
  echo "$2" >"$work/bad.yaml"
  if answer=$(helm template postern "$chart" --namespace "${3:-$ns}" --values "$work/bad.yaml" 2>&1 >/dev/null); then
    echo "chart: these values should be refused: $2"; exit 1
  elif [[ $answer != *"$1"* ]]; then
    printf 'chart: refused, but without "%s": %s\n%s\n' "$1" "$2" "$answer"; exit 1
  fi
  refused=$((refused + 1))
}
refuse "'gatways'" '{gatways: []}'
refuse '/gateways/0' '{gateways: [{name: edge}]}'
refuse '/floor/plaintext' '{floor: {plaintext: Never}}'
refuse '/floor/lockTypes/0' '{floor: {lockTypes: [mTLS]}}'
refuse '/floor/modes/0' '{floor: {modes: [Strict]}}'
refuse '/floor/audit' '{floor: {audit: Never}}'
refuse '/floor/foreignAuthorities' '{floor: {foreignAuthorities: Never}}'
refuse '/gateways/0/flavour' '{gateways: [{name: edge, flavour: Sendmail}]}'
refuse '/gateways/0/name' '{gateways: [{name: edge.one, flavour: NGINX}]}'
refuse '/gateways/0/namespace' "{gateways: [{name: edge, flavour: NGINX, namespace: \"a'b\"}]}"
refuse '/gateways/0/allowedRoutes/namespaces' '{gateways: [{name: edge, flavour: NGINX, allowedRoutes: {namespaces: {from: Selector}}}]}'
refuse '/gateways/0/allowedRoutes/namespaces' '{gateways: [{name: edge, flavour: NGINX, allowedRoutes: {namespaces: {from: All, selector: {matchLabels: {a: b}}}}}]}'
refuse '/gateways/0/allowedRoutes/namespaces/from' '{gateways: [{name: edge, flavour: NGINX, allowedRoutes: {namespaces: {from: Same}}}]}'
refuse '/gateways/0/hostnames/shop/0' '{gateways: [{name: edge, flavour: NGINX, hostnames: {shop: ["https://a"]}}]}'
refuse 'declared twice' '{gateways: [{name: edge, flavour: NGINX}, {name: edge, flavour: NGINX}]}'
refuse '/sidecar/resources' '{sidecar: {resources: {limits: null}}}'
refuse '/replicas' '{replicas: 0}'
refuse '/networkPolicy/apiServerPorts' '{networkPolicy: {enabled: true, apiServerPorts: []}}'
refuse '/logLevel' '{logLevel: trace}'
refuse '/certificates/lifetime' '{certificates: {lifetime: 30d}}'
refuse '/trustDomain' '{trustDomain: "spiffe://example.org"}'
refuse '/image/tag' '{image: {tag: "1 2"}}'
refuse 'a namespace of its own' '{}' kube-system
echo "chart: $refused senseless sets of values refused"
