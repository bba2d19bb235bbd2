#!/bin/bash
# Builds the images into the cache, those whose inputs changed.
#   build.sh [NAME...]    operator sidecar sidecar-next echo lighttpd nginx databases collector; all without a name
# BINARIES is the folder that 'make binaries' fills.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
# shellcheck source-path=SCRIPTDIR/../cluster
. "$CLUSTER_DIR/image.sh"
IMAGES=$REPO/tests/images
# shellcheck source-path=SCRIPTDIR
. "$IMAGES/rootfs.sh"

ALL=(operator sidecar sidecar-next echo lighttpd nginx databases collector)
[ $# -gt 0 ] || set -- "${ALL[@]}"
BINARIES=${BINARIES:-$REPO/target/binaries}
SIDECAR_LIMIT=$((15 * 1024 * 1024))
STORE=$CACHE/images

name_of() {
  case $1 in
    operator | sidecar) echo "postern.dev/postern-$1:dev" ;;
    sidecar-next) echo postern.dev/postern-sidecar:next ;;   # what an upgrade brings
    echo | lighttpd | nginx | databases | collector) echo "postern.dev/test-$1:dev" ;;
    *) die "there is no image '$1': the images are ${ALL[*]}" ;;
  esac
}

binary_of() {
  case $1 in
    operator | echo) echo "$BINARIES/postern-$1" ;;
    sidecar*) echo "$BINARIES/postern-sidecar" ;;
    collector) echo "$PARTS/bin/otelcol" ;;
  esac
}

key_of_image() {
  local own=$IMAGES/$1
  {
    echo "$1"; cat "$CLUSTER_DIR/image.sh"
    case $1 in
      operator | sidecar*) cat "$REPO/Dockerfile" "$(binary_of "$1")" ;;
      echo | collector) cat "$own"/* "$(binary_of "$1")" ;;
      databases) cat "$own"/* "$IMAGES/rootfs.sh"; basename "$(dirname "$(readlink "$PARTS/databases")")" ;;
      *) cat "$own"/* "$IMAGES/rootfs.sh"; basename "$(dirname "$(readlink "$PARTS/servers")")" ;;
    esac
  } | key_of -
}

# image NAME ARCHIVE: gathers a context that holds only what the image needs.
image() {
  local name context file=$IMAGES/$1/Dockerfile
  local -a more=()
  name=$(name_of "$1"); context=$(mktemp -d)
  case $1 in
    operator | sidecar*)
      file=$REPO/Dockerfile
      more=(--target "${1%-next}" --build-arg BINARIES=.) ;;
  esac
  if [ "$1" = sidecar-next ]; then more+=(--label postern.dev/build=next); fi
  if [ "$1" = collector ]; then cp "$IMAGES/collector/config.yaml" "$context"; fi
  if [ -n "$(binary_of "$1")" ]; then cp "$(binary_of "$1")" "$context"
  else "rootfs_$1" "$context"; fi
  image_archive "$name" "$2" --file "$file" ${more[@]+"${more[@]}"} "$context"
  rm -rf "$context"
}

# check_size NAME ARCHIVE: pods of every protected workload carry the sidecar.
check_size() {
  local size
  case $1 in sidecar*) ;; *) return 0 ;; esac
  size=$(stat -c %s "$2")
  ((size <= SIDECAR_LIMIT)) || die "the sidecar's image is $size bytes, and must not be above $SIDECAR_LIMIT"
}

need_root
"$CLUSTER_DIR/build.sh" packages servers databases collector
for one in "$@"; do
  name_of "$one" > /dev/null
  binary=$(binary_of "$one")
  [ -z "$binary" ] || [ -x "$binary" ] || die "there is no $binary: 'make images' builds it first"
done
with_lock images
mkdir -p "$STORE/current"
for one in "$@"; do
  archive=$STORE/$one-$(key_of_image "$one").tar
  if [ ! -e "$archive" ]; then
    run_step "building image $(name_of "$one")" image "$one" "$archive.half"
    check_size "$one" "$archive.half"
    find "$STORE" -maxdepth 1 -name "$one-[0-9a-f]*.tar*" ! -name "${archive##*/}.half" -delete
    mv "$archive.half" "$archive"
    say "built $(name_of "$one"): $(($(stat -c %s "$archive") / 1024)) KiB"
  fi
  ln -sfn "$archive" "$STORE/current/$one.tar"
done
