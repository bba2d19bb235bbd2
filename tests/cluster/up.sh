#!/bin/bash
# Brings the cluster up: from nothing to a Ready node, an answering DNS and
# loaded images. A healthy one is left as it is; the rest of a dead one is cleared.
#   up.sh               the whole of it
#   up.sh --api-only    etcd and the API server, for tests that need no pods
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
. "$CLUSTER_DIR/config.sh"
need_root

case ${1:-} in
  "") mode=whole parts=() ;;
  --api-only) mode=api-only parts=(packages kubernetes) ;;
  *) die "'$1' is not understood: up.sh takes nothing, or --api-only" ;;
esac
"$CLUSTER_DIR/build.sh" ${parts[@]+"${parts[@]}"}
with_lock "cluster-$NAME"

load_images() { "$CLUSTER_DIR/load-image.sh" --all 9>&-; }

if healthy; then
  if [ "$mode" = whole ] && api_only; then
    die "the cluster '$NAME' is up without a node: 'tests/cluster/down.sh' ends it"
  fi
  api_only || load_images
  say "the cluster '$NAME' is up already"
  exit 0
fi
"$CLUSTER_DIR/down.sh" --quiet 9>&-
began=$EPOCHREALTIME

# make_cgroups: one of our own in every hierarchy, so that the pods' are below it.
make_cgroups() {
  local root file controller
  while read -r root; do
    mkdir -p "$root"
    # A new cpuset is empty, and nothing can be put into an empty one.
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$root/../$file" ] || cgroup_v2 || cat "$root/../$file" > "$root/$file"
    done
    if cgroup_v2; then
      # What the kubelet limits pods by is handed down; what cannot be, it does not miss.
      for file in /sys/fs/cgroup "$root"; do
        for controller in $(< "$file/cgroup.controllers"); do
          echo "+$controller" 2> /dev/null > "$file/cgroup.subtree_control" || true
        done
      done
    fi
  done < <(cgroup_roots)
  mkdir -p "$(system_cgroup)"
}

# start_node: the namespaces and their first process, in the system cgroup from the start.
start_node() {
  (
    echo "$BASHPID" > "$(system_cgroup)/cgroup.procs"
    exec 9>&- setsid unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
      "$CLUSTER_DIR/node.sh"
  ) > "$RUN/log/node.log" 2>&1 < /dev/null &
  wait_for 10 "the node's namespaces ($RUN/log/node.log says why)" test -e "$RUN/node-made"
}

# explain: on a failure, what the components that died said last.
explain() {
  local component
  for component in "${COMPONENTS[@]}"; do
    if [ ! -e "$RUN/pids/$component" ] || component_lives "$component"; then continue; fi
    printf '%s died; %s ends with:\n' "$component" "$RUN/log/$component.log"
    tail -5 "$RUN/log/$component.log"
  done >&2
}
trap explain ERR

mkdir -p "$RUN"/{log,pids}
mkfifo "$RUN/orders"
[ "$mode" = whole ] || touch "$RUN/api-only"
write_config
make_cgroups
start_node
order start etcd
order start kube-apiserver
if [ "$mode" = whole ]; then
  order start containerd
  wait_for 20 "containerd's socket ($RUN/log/containerd.log says why)" in_node "$PARTS/sbin/ctr" version
  "$CLUSTER_DIR/load-image.sh" "$PARTS/pause.tar"
  load_images &
  images=$!
fi
wait_for 40 "the API server's port" in_net bash -c "< /dev/tcp/$NODE_IP/6443"
wait_for 40 "the API server ($RUN/log/kube-apiserver.log says why)" kubectl get --raw /readyz
if [ "$mode" = whole ]; then
  for component in kube-controller-manager kube-scheduler kubelet kube-proxy; do order start "$component"; done
  kubectl create --validate=false -f "$CLUSTER_DIR/coredns.yaml" > /dev/null
  order start coredns
  wait_for 60 "a Ready node ($RUN/log/kubelet.log says why)" \
    kubectl wait "node/$NODE_NAME" --for=condition=Ready --timeout=10s
  wait_for 30 "the cluster's DNS ($RUN/log/coredns.log says why)" dns_ready
  wait_for 30 "the ServiceAccount 'default'" kubectl get serviceaccount default
  wait "$images"
fi
took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}')
say "the cluster '$NAME' is up after $took s; tests/cluster/run.sh COMMAND runs a command in its network"
