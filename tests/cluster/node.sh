#!/bin/bash
# The first process of the cluster's pid namespace: makes the node's own files
# and network, then starts and kills components as $RUN/orders says
# ("start NAME", "stop NAME"). When it dies, the kernel ends all the others.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
. "$CLUSTER_DIR/components.sh"

# The kubelet sets these for the whole machine; here it writes to files of ours.
hide_host_settings() {
  local setting copy
  mkdir -p "$RUN/host-settings"
  for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [ -e "/proc/sys/$setting" ] || continue
    copy=$RUN/host-settings/${setting##*/}
    cat "/proc/sys/$setting" > "$copy"
    mount --bind "$copy" "/proc/sys/$setting"
  done
}

own_files() {
  local keep folder
  keep=$(mktemp -d)
  mount --bind "$CACHE" "$keep"      # it may lie below one of the folders
  for folder in /run /var/lib /var/log /usr/libexec; do mount -t tmpfs -o mode=755 none "$folder"; done
  mkdir -p /run/lock "$CACHE"
  mount --bind "$keep" "$CACHE"
  umount "$keep"; rmdir "$keep"
}

own_network() {
  ip link set lo up
  # Addresses and a default route on a cable to ourselves: ClusterIPs need a route.
  ip link add node0 type veth peer name node0-end
  ip link set node0 up; ip link set node0-end up
  ip address add "$NODE_IP/24" dev node0
  ip address add "$NODE_IP6/64" dev node0 nodad
  ip route add default dev node0
  ip -6 route add default dev node0
  echo 1 > /proc/sys/net/ipv4/ip_forward
  echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
}

declare -A running
start() {
  stop "$1"
  ( exec 3>&-; component "$1" ) >> "$RUN/log/$1.log" 2>&1 < /dev/null &
  running[$1]=$!
  echo $! > "$RUN/pids/$1"
}
stop() {
  if [ -n "${running[$1]:-}" ]; then
    kill -KILL "${running[$1]}" 2> /dev/null || true
    wait "${running[$1]}" 2> /dev/null || true
    unset "running[$1]"
  fi
  rm -f "$RUN/pids/$1"
}

hide_host_settings
own_files
own_network
exec 3<> "$RUN/orders"
touch "$RUN/node-made"
while read -r verb name <&3; do
  case $verb in
    start | stop) "$verb" "$name" ;;
    *) echo "order not understood: $verb $name" ;;
  esac
done
