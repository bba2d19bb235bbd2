#!/bin/bash
# Loads images into the running cluster's node.
#   load-image.sh ARCHIVE...   docker or OCI archives
#   load-image.sh --all        those that 'make images' built, unless loaded already
#   load-image.sh --if-up      the same, if there is a cluster
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
need_root
[ $# -gt 0 ] || die "usage: load-image.sh ARCHIVE... | --all | --if-up"
if [ "$1" = --if-up ]; then
  if ! init_pid > /dev/null || api_only; then exit 0; fi
  set -- --all
fi
init_pid > /dev/null || die "the cluster '$NAME' is not up: 'make cluster-up' starts it"

load() {
  [ -r "$1" ] || die "there is no image archive '$1'"
  in_node env LD_LIBRARY_PATH="$NODE_LIBS" \
    "$PARTS/sbin/ctr" --namespace k8s.io images import - < "$1" > "$RUN/log/load-image.$$.log" 2>&1 ||
    die "containerd refused $1: $(cat "$RUN/log/load-image.$$.log")"
  rm -f "$RUN/log/load-image.$$.log"
}

case $1 in
  --all)
    mkdir -p "$RUN/loaded"
    for archive in "$CACHE"/images/current/*.tar; do
      [ -e "$archive" ] || continue
      key=$(basename "$(readlink "$archive")")      # named by its content's key
      [ ! -e "$RUN/loaded/$key" ] || continue
      load "$archive"
      touch "$RUN/loaded/$key"
    done ;;
  *) for archive in "$@"; do load "$archive"; done ;;
esac
