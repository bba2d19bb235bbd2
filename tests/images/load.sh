#!/bin/bash
# Loads the images that build.sh made into another cluster than tests/cluster's,
# by the command in POSTERN_LOAD_IMAGE.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
read -ra command <<< "${POSTERN_LOAD_IMAGE:?the command that loads an image archive}"
for archive in "$CACHE"/images/current/*.tar; do
  say "loading $(basename "$archive" .tar)"
  "${command[@]}" "$archive"
done
