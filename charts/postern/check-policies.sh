#!/usr/bin/env bash
# Asks an API server on which the chart is installed who may do what: the operator's rights, their fences, the
# protection of what Postern manages, and the roles of users. Changes nothing outside a namespace of its own and
# short-lived objects of its own in the release's.
#   KUBECONFIG=… charts/postern/check-policies.sh [RELEASE_NAMESPACE]
set -euo pipefail

release=${1:-postern-system}
ns=postern-check-$RANDOM$RANDOM
passed=0 failed=0

operator() { kubectl --as="system:serviceaccount:$release:postern-operator" "$@"; }
# Somebody whom RBAC lets do everything, so that only admission can refuse.
somebody() { kubectl --as=somebody --as-group=system:masters "$@"; }
# As 'somebody', under the operator's name in another namespace.
impostor() { kubectl --as="system:serviceaccount:$ns:postern-operator" --as-group=system:masters "$@"; }
collector() { kubectl --as=system:serviceaccount:kube-system:generic-garbage-collector "$@"; }
namespaces() { kubectl --as=system:serviceaccount:kube-system:namespace-controller "$@"; }

# may WHAT COMMAND…: it must succeed.
may() {
  local what=$1 answer; shift
  if answer=$("$@" 2>&1); then passed=$((passed + 1)); else
    failed=$((failed + 1)); printf 'FAILED: should be possible: %s\n  %s\n' "$what" "$answer"
  fi
}

# mayn't, with a part of the answer that shows who refused.
maynot() {
  local what=$1 part=$2 answer; shift 2
  if answer=$("$@" 2>&1); then
    failed=$((failed + 1)); printf 'FAILED: should be refused: %s\n  %s\n' "$what" "$answer"
  elif [[ $answer != *"$part"* ]]; then
    failed=$((failed + 1)); printf 'FAILED: refused, but not by "%s": %s\n  %s\n' "$part" "$what" "$answer"
  else passed=$((passed + 1)); fi
}

secret() { # NAME [TYPE] [LABELS]
  printf '{apiVersion: v1, kind: Secret, type: %s, metadata: {name: %s, labels: {%s}}, stringData: {key: value}}' \
    "${2:-Opaque}" "$1" "${3:-}"
}
configmap() { # NAME [LABELS]
  printf '{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, labels: {%s}}, data: {key: value}}' "$1" "${2:-}"
}
network_policy() { # NAME [LABELS]
  printf '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s, labels: {%s}}, spec: {podSelector: {matchLabels: {app: never}}, policyTypes: [Ingress]}}' \
    "$1" "${2:-}"
}
pod_spec='containers: [{name: app, image: postern.dev/never-started}]'
pod() { printf '{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: a}}, spec: {%s}}' "$1" "$pod_spec"; }
workload() { # KIND NAME [FIELDS]
  printf '{apiVersion: apps/v1, kind: %s, metadata: {name: %s}, spec: {%s selector: {matchLabels: {app: b}}, template: {metadata: {labels: {app: b}, annotations: {own: a}}, spec: {%s}}}}' \
    "$1" "$2" "${3:-}" "$pod_spec"
}
# create WHO NAMESPACE TEXT [FLAGS…]
create() { local who=$1 where=$2 text=$3; shift 3; "$who" create -n "$where" -f <(echo "$text") "$@"; }
# apply WHO NAMESPACE TEXT: as the operator writes, by server-side apply
apply() { "$1" apply --server-side --field-manager=postern-check -n "$2" -f <(echo "$3"); }
# patch WHO OBJECT JSON
patch() { "$1" patch -n "$ns" "$2" --type=merge -p "$3"; }

mark='app.kubernetes.io/managed-by: postern'
cleanup() {
  for object in secret/edge.check.orders configmap/edge.check.orders; do
    operator delete -n "$release" --ignore-not-found "$object" >/dev/null 2>&1 || true
  done
  kubectl delete namespace "$ns" --wait=false >/dev/null 2>&1 || true
}
trap cleanup EXIT
kubectl create namespace "$ns" >/dev/null
# A new policy takes up to a second until it refuses.
for _ in $(seq 100); do
  create somebody "$ns" "$(secret early Opaque "$mark")" --dry-run=server >/dev/null 2>&1 || break
  sleep 0.1
done

# What Postern manages
may 'somebody creates a Secret of their own' create somebody "$ns" "$(secret own)"
may 'the operator creates a lock'"'"'s Secret' apply operator "$ns" "$(secret postern-orders Opaque "$mark")"
may 'the operator changes it' apply operator "$ns" "$(secret postern-orders Opaque "$mark, postern.dev/trust: orders")"
ours='Postern manages'
maynot 'somebody forges the mark' "$ours" create somebody "$ns" "$(secret forged Opaque "$mark")"
maynot 'somebody forges the mark on a ConfigMap' "$ours" create somebody "$ns" "$(configmap forged "$mark")"
maynot 'somebody marks a Secret of their own' "$ours" somebody label -n "$ns" secret/own "${mark/: /=}"
maynot 'somebody edits a lock'"'"'s Secret' "$ours" patch somebody secret/postern-orders '{"stringData":{"key":"other"}}'
maynot 'somebody takes the mark off' "$ours" somebody label -n "$ns" secret/postern-orders app.kubernetes.io/managed-by-
maynot 'somebody hands it to another manager' "$ours" somebody label -n "$ns" --overwrite secret/postern-orders app.kubernetes.io/managed-by=Helm
maynot 'somebody deletes it' "$ours" somebody delete -n "$ns" secret/postern-orders
maynot 'somebody deletes it among others' "$ours" somebody delete --raw "/api/v1/namespaces/$ns/secrets"
maynot 'an impostor edits it' "$ours" patch impostor secret/postern-orders '{"stringData":{"key":"other"}}'
may 'the operator deletes it' operator delete -n "$ns" secret/postern-orders
may '(it is made again)' apply operator "$ns" "$(secret postern-orders Opaque "$mark")"
may 'the garbage collector deletes it' collector delete -n "$ns" secret/postern-orders
may '(and again)' apply operator "$ns" "$(secret postern-orders Opaque "$mark")"
may 'the namespace controller deletes it' namespaces delete -n "$ns" secret/postern-orders

# The operator's fence: Secrets and ConfigMaps
somebody get -n "$ns" secret/own >/dev/null 2>&1 || create somebody "$ns" "$(secret own)" >/dev/null
unmarked='the operator writes and deletes only what has the label'
maynot 'the operator creates a Secret without its mark' "$unmarked" apply operator "$ns" "$(secret postern-x)"
maynot 'the operator takes over a Secret' "$unmarked" apply operator "$ns" "$(secret own Opaque "$mark")"
maynot 'the operator deletes somebody'"'"'s Secret' "$unmarked" operator delete -n "$ns" secret/own
maynot 'the operator makes a Secret of another type' 'only Secrets of type Opaque' \
  create operator "$ns" "{apiVersion: v1, kind: Secret, type: kubernetes.io/basic-auth, metadata: {name: postern-x, labels: {$mark}}, stringData: {username: a, password: b}}"
maynot 'the operator makes a token' 'only Secrets of type Opaque' \
  create operator "$ns" "{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: postern-x, labels: {$mark}, annotations: {kubernetes.io/service-account.name: default}}}"
rbac='is forbidden: User'
elsewhere='outside the namespaces of the release and of declared gateways'
maynot 'the operator puts a gateway'"'"'s Secret elsewhere' "$elsewhere" apply operator "$ns" "$(secret edge.shop.orders Opaque "$mark")"
maynot 'the operator puts a ConfigMap elsewhere' "$rbac" apply operator "$ns" "$(configmap postern-orders "$mark")"
may 'the operator puts a gateway'"'"'s Secret into its own namespace' apply operator "$release" "$(secret edge.check.orders Opaque "$mark")"
may 'the operator puts a configuration there' apply operator "$release" "$(configmap edge.check.orders "$mark")"
maynot 'the operator lists all Secrets' "$rbac" operator get secrets -A
maynot 'the operator lists Secrets where no gateway is' "$rbac" operator get secrets -n "$ns"
may 'the operator lists Secrets where outputs are' operator get secrets -n "$release"
maynot 'the operator lists all ConfigMaps' "$rbac" operator get configmaps -A
may 'the operator lists ConfigMaps where outputs are' operator get configmaps -n "$release"

may 'the operator closes the pods of a lock' apply operator "$ns" "$(network_policy postern-orders "$mark")"
maynot 'somebody opens them' "$ours" patch somebody networkpolicy/postern-orders '{"spec":{"ingress":[{}]}}'
maynot 'somebody deletes it' "$ours" somebody delete -n "$ns" networkpolicy/postern-orders
maynot 'the operator makes a NetworkPolicy of another name' "$elsewhere" apply operator "$ns" "$(network_policy other "$mark")"
maynot 'the operator makes one where outputs are' "$elsewhere" apply operator "$release" "$(network_policy other "$mark")"
create somebody "$ns" "$(network_policy postern-own)" >/dev/null
maynot 'the operator takes over a NetworkPolicy' "$unmarked" apply operator "$ns" "$(network_policy postern-own "$mark")"
maynot 'the operator deletes somebody'"'"'s NetworkPolicy' "$unmarked" operator delete -n "$ns" networkpolicy/postern-own
maynot 'the operator lists NetworkPolicies' "$rbac" operator get networkpolicies -n "$ns"
may 'the operator takes its own away' operator delete -n "$ns" networkpolicy/postern-orders

# The operator's fence: pods and workloads
create somebody "$ns" "$(pod running)" >/dev/null
for kind in Deployment:deployment DaemonSet:daemonset StatefulSet:statefulset; do
  fields='replicas: 0,'
  [[ $kind == DaemonSet:* ]] && fields=''
  create somebody "$ns" "$(workload "${kind%:*}" work "$fields")" >/dev/null
done
maynot 'the operator creates a pod' 'creates pods only as a dry run' create operator "$ns" "$(pod new)"
may 'the operator creates a pod, dry run' create operator "$ns" "$(pod new)" --dry-run=server
may 'the operator annotates a pod' patch operator pod/running '{"metadata":{"annotations":{"postern.dev/config":"sha256:0"}}}'
may 'the operator takes its annotation off' patch operator pod/running '{"metadata":{"annotations":{"postern.dev/config":null}}}'
only='changes only annotations of postern.dev'
maynot 'the operator writes another annotation on a pod' "$only" patch operator pod/running '{"metadata":{"annotations":{"example.com/a":"b"}}}'
maynot 'the operator labels a pod' "changes no pod's labels" patch operator pod/running '{"metadata":{"labels":{"app":"c"}}}'
maynot 'the operator gives a pod a finalizer' "changes no pod's labels" patch operator pod/running '{"metadata":{"finalizers":["example.com/a"]}}'
maynot 'the operator changes a pod'"'"'s image' "changes no pod's spec" \
  operator patch -n "$ns" pod/running -p '{"spec":{"containers":[{"name":"app","image":"other"}]}}'
maynot 'the operator deletes a pod' "$rbac" operator delete -n "$ns" pod/running
maynot 'the operator adds an ephemeral container' "$rbac" operator debug -n "$ns" pod/running --image=other --attach=false
for kind in deployment daemonset statefulset; do
  template() { printf '{"spec":{"template":%s}}' "$1"; }
  may "the operator restarts a $kind" patch operator "$kind/work" "$(template '{"metadata":{"annotations":{"postern.dev/restartedAt":"now"}}}')"
  may "the operator restarts a $kind again" patch operator "$kind/work" "$(template '{"metadata":{"annotations":{"postern.dev/restartedAt":"later"}}}')"
  maynot "the operator writes another annotation into a $kind" "$only" patch operator "$kind/work" "$(template '{"metadata":{"annotations":{"own":"b"}}}')"
  maynot "the operator takes an annotation from a $kind" "$only" patch operator "$kind/work" "$(template '{"metadata":{"annotations":{"own":null}}}')"
  maynot "the operator labels the pods of a $kind" "$only" patch operator "$kind/work" "$(template '{"metadata":{"labels":{"c":"d"}}}')"
  maynot "the operator annotates a $kind itself" "changes no workload's labels" patch operator "$kind/work" '{"metadata":{"annotations":{"postern.dev/a":"b"}}}'
  maynot "the operator changes the image of a $kind" "changes no workload's spec" \
    operator patch -n "$ns" "$kind/work" -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"other"}]}}}}'
  maynot "the operator changes another field of a $kind" "changes no workload's spec" patch operator "$kind/work" '{"spec":{"revisionHistoryLimit":1}}'
  maynot "the operator deletes a $kind" "$rbac" operator delete -n "$ns" "$kind/work"
done

# The operator's other rights
webhook() { printf '{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: %s}, webhooks: []}' "$1"; }
may 'the operator writes its webhook configuration' operator apply --server-side --dry-run=server --force-conflicts -f <(webhook postern)
maynot 'the operator writes another webhook configuration' "$rbac" operator apply --server-side --dry-run=server -f <(webhook other)
trust() { printf '{apiVersion: postern.dev/v1alpha1, kind: BackendTrust, metadata: {name: orders}, spec: {podSelector: {matchLabels: {app: never}}}}'; }
create somebody "$ns" "$(trust)" >/dev/null
for kind in backendtrusts apiroutes; do
  may "the operator writes the status of $kind" operator auth can-i -n "$ns" patch "$kind.postern.dev" --subresource=status
done
maynot 'the operator changes a lock' "$rbac" patch operator backendtrust/orders '{"spec":{"ports":[{"port":1,"protocol":"TCP"}]}}'
annotate() { kubectl annotate -n "$ns" --overwrite backendtrust/orders "$1" >/dev/null; }
locked='postern.dev/unlock=true, then delete it again'
maynot 'somebody deletes a lock' "$locked" somebody delete -n "$ns" backendtrust/orders --dry-run=server
maynot 'somebody deletes it among others' "$locked" somebody delete -n "$ns" backendtrusts --all --dry-run=server
annotate postern.dev/unlock=yes
maynot 'somebody deletes a lock with another annotation' "$locked" somebody delete -n "$ns" backendtrust/orders --dry-run=server
may 'a namespace is deleted with its locks' namespaces delete -n "$ns" backendtrust/orders --dry-run=server
may 'a lock goes with its owner' collector delete -n "$ns" backendtrust/orders --dry-run=server
annotate postern.dev/unlock=true
may 'somebody deletes an unlocked lock' somebody delete -n "$ns" backendtrust/orders --dry-run=server
may 'the operator writes a Lease' create operator "$release" '{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: check}}' --dry-run=server
maynot 'the operator takes a Lease of somebody else' "$rbac" operator patch -n "$release" lease/other --type=merge -p '{}' --dry-run=server
may 'the operator renews its webhook certificate' operator auth can-i -n "$release" update secrets/postern-webhook-tls
maynot 'the operator replaces its CA' no operator auth can-i -n "$release" update secrets/postern-client-ca
maynot 'the operator makes itself a token' "$rbac" operator create token -n "$release" postern-operator
maynot 'the operator gives itself rights' "$rbac" operator create clusterrolebinding all --clusterrole=cluster-admin --user=x --dry-run=server

# Users
for role in admin edit view; do
  kubectl create rolebinding -n "$ns" "$role" --clusterrole="$role" --user="$role" >/dev/null
done
can() { local who=$1; shift; kubectl auth can-i --as="$who" -n "$ns" "$@"; }
for kind in backendtrusts apiroutes; do
  for role in admin edit view; do
    may "$role reads $kind" can $role list "$kind.postern.dev"
    maynot "$role writes the status of $kind" no can $role patch "$kind.postern.dev" --subresource=status
  done
  may "admin writes $kind" can admin create "$kind.postern.dev"
  maynot "view writes $kind" no can view create "$kind.postern.dev"
done
may 'edit writes apiroutes' can edit patch apiroutes.postern.dev
maynot 'edit writes backendtrusts' no can edit create backendtrusts.postern.dev
maynot 'edit deletes backendtrusts' no can edit delete backendtrusts.postern.dev

echo "policies: $passed passed, $failed failed"
[[ $failed == 0 ]]
