# shellcheck shell=bash
# What every script of the cluster shares: where things are, how progress is
# told, and how the cluster's namespaces are found and entered.
# shellcheck disable=SC2034  # the scripts that read this one use the names
set -euo pipefail

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$CLUSTER_DIR/../.." && pwd)
CACHE=${POSTERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern}
NAME=${POSTERN_CLUSTER:-postern}   # two clusters with different names live side by side
RUN=$CACHE/run/$NAME               # what one running cluster writes; down.sh removes it
PARTS=$CACHE/parts                 # what build.sh makes, once
ADMIN_KUBECONFIG=$RUN/kubeconfig
NODE_LIBS=$PARTS/root/usr/lib/$(uname -m)-linux-gnu

NODE_NAME=postern-node
NODE_IP=10.99.0.1
NODE_IP6=fd00:10:99::1
SERVICE_CIDRS=10.96.0.0/16,fd00:10:96::/112
POD_CIDR=10.244.0.0/24
POD_CIDR6=fd00:10:244::/64
COMPONENTS=(etcd containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns)
API_COMPONENTS=(etcd kube-apiserver)   # of a cluster without a node, for tests that need no pods

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# say MESSAGE: one line of progress, with the seconds since the script began.
say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

need_root() {
  [ "$(id -u)" = 0 ] || die "the test cluster makes namespaces and cgroups, which needs root: run this as root, or point KUBECONFIG and POSTERN_LOAD_IMAGE at another cluster (tests/cluster/README.md)"
}

# with_lock NAME: from here on, no other script that asks for the same lock runs.
with_lock() {
  mkdir -p "$CACHE"
  exec 9> "$CACHE/$1.lock"
  flock --nonblock 9 || { say "waiting for another script that holds $CACHE/$1.lock"; flock 9; }
}

# run_step LABEL COMMAND...: runs a long command quietly, says each 15 seconds
# that it still runs, and shows the end of what it printed if it fails.
run_step() {
  local label=$1 log began=$SECONDS pid; shift
  log=$(mktemp)
  say "$label"
  "$@" > "$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2> /dev/null; do
    if ((SECONDS - began >= 15)) && (((SECONDS - began) % 15 == 0)); then
      say "$label … $((SECONDS - began)) s"
      sleep 1
    fi
    sleep 0.2
  done
  if ! wait "$pid"; then
    tail -40 "$log" >&2; rm -f "$log"
    die "failed: $label"
  fi
  rm -f "$log"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds, or fails naming WHAT.
wait_for() {
  local limit=$1 what=$2 end; shift 2
  end=$((SECONDS + limit))
  until "$@" > /dev/null 2>&1; do
    ((SECONDS < end)) || { printf 'error: %s did not come within %s s\n' "$what" "$limit" >&2; return 1; }
    sleep 0.1
  done
}

# key_of FILE...: a short hash of what the files hold; - is standard input.
key_of() { cat "$@" | sha256sum | cut -c1-16; }

cgroup_v2() { [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; }

# cgroup_roots: the cluster's own folder in every hierarchy, one a line.
cgroup_roots() {
  local mount
  if cgroup_v2; then printf '/sys/fs/cgroup/%s\n' "$NAME"; return; fi
  while read -r _ mount type _; do
    [[ $type == cgroup* ]] && printf '%s/%s\n' "$mount" "$NAME"
  done < /proc/mounts
}

# system_cgroup: the one that holds the cluster's own processes. Whoever is in
# it, or below its parent, belongs to the cluster: no pid file can go stale.
system_cgroup() {
  if cgroup_v2; then echo "/sys/fs/cgroup/$NAME/system"; else echo "/sys/fs/cgroup/pids/$NAME/system"; fi
}

# init_pid: the host's number of the first process in the cluster's pid
# namespace; fails if there is none.
init_pid() {
  local pid numbers
  while read -r pid; do
    numbers=$(awk '/^NSpid:/ {print NF, $NF}' "/proc/$pid/status" 2> /dev/null) || continue
    [ "$numbers" = "3 1" ] && { echo "$pid"; return 0; }
  done < <(cat "$(system_cgroup)/cgroup.procs" 2> /dev/null)
  return 1
}

# in_net COMMAND...: in the cluster's network, with the host's files.
in_net() { nsenter --net="/proc/$(init_pid)/ns/net" -- "$@"; }

# in_node COMMAND...: in the cluster's network, files and processes.
in_node() { nsenter --target "$(init_pid)" --net --mount --pid -- "$@"; }

kubectl() { in_net "$PARTS/bin/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }

# order VERB COMPONENT: the cluster's init starts or kills one of its components.
order() { printf '%s %s\n' "$1" "$2" 1<> "$RUN/orders"; }

component_lives() { in_node test -d "/proc/$(cat "$RUN/pids/$1")"; }

node_ready() { [ "$(kubectl get node "$NODE_NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

# dns_ready: CoreDNS has read all Services from the API server.
dns_ready() {
  # shellcheck disable=SC2016  # the inner shell expands it
  in_net timeout 2 bash -c 'exec 5<> /dev/tcp/127.0.0.1/8181
    printf "GET /ready HTTP/1.0\r\n\r\n" >&5
    read -r status <&5
    [[ $status == *" 200 "* ]]'
}

api_only() { [ -e "$RUN/api-only" ]; }

healthy() {
  local component
  init_pid > /dev/null || return 1
  if api_only; then COMPONENTS=("${API_COMPONENTS[@]}"); fi
  for component in "${COMPONENTS[@]}"; do component_lives "$component" || return 1; done
  kubectl get --raw /readyz > /dev/null || return 1
  api_only || { node_ready && dns_ready; }
} 2> /dev/null
