# shellcheck shell=bash
# Debian packages unpacked into a folder, with all that they depend on, and
# without installing anything: no service starts and nothing of the host changes.

# debian_root FOLDER SKIP PACKAGE...: SKIP is a pattern of package files that
# are left out (an empty one leaves out none).
debian_root() {
  local root=$1 skip=$2 work deb; shift 2
  command -v apt-get > /dev/null || {
    echo "error: $* come from Debian packages, and this machine has no apt-get" >&2; return 1; }
  work=$(mktemp -d)
  mkdir -p "$work/archives/partial"
  : > "$work/nothing-installed"
  # An empty status file makes apt resolve the whole closure.
  apt-get install --yes --quiet --download-only --no-install-recommends \
    -o Dir::State::status="$work/nothing-installed" -o Dir::Cache::archives="$work/archives" \
    -o APT::Sandbox::User=root -o Debug::NoLocking=true "$@" || {
    echo "error: apt-get found not all of: $*; try 'apt-get update' first" >&2; return 1; }
  rm -rf "$root"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for deb in bin sbin lib lib64; do ln -s "usr/$deb" "$root/$deb"; done
  for deb in "$work"/archives/*.deb; do
    # shellcheck disable=SC2254  # SKIP is meant as a pattern
    case ${deb##*/} in $skip) continue ;; esac
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
      --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale
  done
  rm -rf "$work"
}
