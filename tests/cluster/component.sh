#!/bin/bash
# Starts, kills or restarts one component of the running cluster, for tests of
# what happens when it is away: etcd, containerd, kube-apiserver,
# kube-controller-manager, kube-scheduler, kubelet, kube-proxy, coredns.
#   component.sh start|stop|restart NAME
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
need_root
[ $# = 2 ] || die "usage: component.sh start|stop|restart NAME"
init_pid > /dev/null || die "the cluster '$NAME' is not up: 'make cluster-up' starts it"

gone() { [ ! -e "$RUN/pids/$1" ]; }
there() { component_lives "$1"; }
stop() { order stop "$1"; wait_for 10 "the end of $1" gone "$1"; }
start() { order start "$1"; wait_for 10 "the start of $1" there "$1"; }

case $1 in
  start | stop) "$1" "$2" ;;
  restart) stop "$2"; start "$2" ;;
  *) die "'$1' is none of start, stop, restart" ;;
esac
