# shellcheck shell=bash
# Builds an image from a Dockerfile into an archive that 'ctr images import',
# 'docker load', 'kind load image-archive' and 'k3d image import' all read.

# image_archive NAME ARCHIVE BUILD-ARGUMENT...: the last argument is the context.
# It takes the buildah that is unpacked in the cache, with a storage of its own
# that is thrown away, so that the host's own images are left alone.
image_archive() (
  name=$1 archive=$2; shift 2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' > "$work/policy.json"
  export LD_LIBRARY_PATH=$NODE_LIBS
  buildah() {
    local verb=$1; shift
    "$PARTS/sbin/buildah" --storage-driver vfs --root "$work/storage" --runroot "$work/run" \
      "$verb" --signature-policy "$work/policy.json" "$@"
  }
  rm -f "$archive"
  buildah bud --isolation chroot --timestamp 0 --tag "$name" "$@"
  buildah push "$name" "docker-archive:$archive:$name"
)
