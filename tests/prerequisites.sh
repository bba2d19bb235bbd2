#!/bin/bash
# Names everything that this machine lacks to build and test Postern, at once,
# with what to do. As root on a Debian-like machine it installs what apt-get has.
set -euo pipefail

RUST=1.89 GO=1.26
packages=() advice=()

has() { command -v "$1" > /dev/null; }
# package COMMAND PACKAGE: what the package manager has.
package() { has "$1" || packages+=("$2"); }
# at_least WANTED FOUND: compares versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

package gcc gcc
package ip iproute2
package nsenter util-linux
package openssl openssl
package python3 python3
package git git
package valgrind valgrind
if has apt-get; then
  package dpkg-deb dpkg
else
  advice+=("apt-get: the test cluster's etcd, containerd and runc come as Debian packages. Use Debian 12 or a relative, or point the tests at another cluster (tests/cluster/README.md)")
fi
if has gcc && [ "$(gcc -print-file-name=libc.a)" = libc.a ]; then packages+=(libc6-dev); fi
has gcc || packages+=(libc6-dev)

if ! has cargo || ! has rustc; then
  advice+=("Rust $RUST or newer: https://rustup.rs installs it")
else
  found=$(rustc --version | cut -d' ' -f2)
  at_least "$RUST" "$found" || advice+=("Rust $RUST or newer, and this is $found: 'rustup update stable' brings it")
  for component in rustfmt clippy; do
    cargo "${component/rust/}" --version > /dev/null 2>&1 ||
      advice+=("the Rust component $component: 'rustup component add $component' brings it")
  done
fi
if ! has go; then
  advice+=("Go $GO or newer, of which Kubernetes is built: https://go.dev/dl has it")
else
  found=$(go env GOVERSION); found=${found#go}
  at_least "$GO" "$found" || advice+=("Go $GO or newer, and this is $found: https://go.dev/dl has it")
fi

if [ ${#packages[@]} -gt 0 ]; then
  if has apt-get && [ "$(id -u)" = 0 ]; then
    echo "installing ${packages[*]}"
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" > /dev/null ||
      advice+=("the packages ${packages[*]}: apt-get could not install them, and says why above")
  else
    advice+=("the packages ${packages[*]} (Debian's names): 'apt-get install ${packages[*]}' as root brings them")
  fi
fi

if [ "$(id -u)" = 0 ] && has unshare && ! unshare --net --mount --pid --fork true 2> /dev/null; then
  advice+=("the right to make namespaces, for the test cluster: run on a machine of one's own, or in a privileged container")
fi

if [ ${#advice[@]} -gt 0 ]; then
  echo "This machine lacks:" >&2
  printf ' - %s\n' "${advice[@]}" >&2
  exit 1
fi
