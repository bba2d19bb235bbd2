#!/bin/bash
# Ends the cluster and clears all that it, or one that crashed, left behind.
#   down.sh [--quiet]
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
need_root
[ "${1:-}" = --quiet ] || with_lock "cluster-$NAME"

members() {
  local root
  while read -r root; do
    [ ! -d "$root" ] || find "$root" -name cgroup.procs -exec cat {} + 2> /dev/null
  done < <(cgroup_roots) | sort -un
}
nobody_left() { [ -z "$(members)" ]; }
no_cgroups_left() {
  local root left=0
  while read -r root; do
    [ -d "$root" ] || continue
    find "$root" -depth -type d -exec rmdir {} + 2> /dev/null
    [ ! -d "$root" ] || left=1
  done < <(cgroup_roots)
  return $left
}

if init=$(init_pid); then kill -KILL "$init"; fi
while read -r pid; do kill -KILL "$pid" 2> /dev/null || true; done < <(members)
wait_for 20 "the end of the cluster's processes" nobody_left
wait_for 20 "the end of the cluster's cgroups" no_cgroups_left
rm -rf --one-file-system "$RUN"
[ "${1:-}" = --quiet ] || say "the cluster '$NAME' is down, and nothing is left of it"
