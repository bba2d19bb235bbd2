# shellcheck shell=bash
# Builds an image from a Dockerfile into an archive that 'ctr images import',
# 'docker load', 'kind load image-archive' and 'k3d image import' all read.

# image_archive NAME ARCHIVE BUILD-ARGUMENT...: the last argument is the context.
image_archive() {
  local name=$1 archive=$2; shift 2
  rm -f "$archive"
  if [ -x "$PARTS/sbin/buildah" ]; then
    with_buildah "$name" "$archive" "$@"
  else
    docker build --tag "$name" "$@" && docker save --output "$archive" "$name"
  fi
}

# with_buildah: the one unpacked in the cache, with a storage of its own that is
# thrown away, so that nothing of the host's containers is touched.
with_buildah() (
  name=$1 archive=$2; shift 2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' > "$work/policy.json"
  export LD_LIBRARY_PATH=$NODE_LIBS
  run() {
    local verb=$1; shift
    "$PARTS/sbin/buildah" --storage-driver vfs --root "$work/storage" --runroot "$work/run" \
      "$verb" --signature-policy "$work/policy.json" "$@"
  }
  run bud --isolation chroot --timestamp 0 --tag "$name" "$@"
  run push "$name" "docker-archive:$archive:$name"
)
