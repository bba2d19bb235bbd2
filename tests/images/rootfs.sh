# shellcheck shell=bash
# Picks, from unpacked Debian packages, the few files that one server needs.

# The packages' folder.
FROM=$PARTS/servers

# take ROOTFS FILE...: copies files, links as links.
take() {
  local rootfs=$1; shift
  (cd "$FROM" && cp -a --parents -t "$rootfs" "$@")
}

# take_program ROOTFS FILE...: copies programs or modules with the loader and
# the libraries that the loader names for them.
take_program() {
  local rootfs=$1 loader file library; shift
  loader=$(cd "$FROM" && find usr/lib64 usr/lib -maxdepth 1 -name 'ld-linux-*.so.*' -print -quit)
  for file in "$@"; do
    install -D "$FROM/$file" "$rootfs/$file"
    while read -r library; do
      install -D "$FROM/$library" "$rootfs/$library"
    done < <(chroot "$FROM" "/$loader" --list "/$file" | grep -o '/[^ ]*')
  done
}

# base ROOTFS USER ID: the files that every program expects, and one user.
base() {
  local link
  mkdir -p "$1"/{etc,run,usr/{bin,sbin,lib,lib64},var}
  install -d -m 1777 "$1/tmp"
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$1/$link"; done
  printf 'root:x:0:0::/:/bin/sh\n%s:x:%s:%s::/tmp:/bin/sh\n' "$2" "$3" "$3" > "$1/etc/passwd"
  printf 'root:x:0:\n%s:x:%s:\n' "$2" "$3" > "$1/etc/group"
  echo 'hosts: files dns' > "$1/etc/nsswitch.conf"
}

# rootfs_IMAGE CONTEXT: what the image's Dockerfile copies.
rootfs_lighttpd() {
  base "$1/rootfs" www-data 33
  take_program "$1/rootfs" usr/sbin/lighttpd usr/lib/lighttpd/mod_accesslog.so
  install -D -m 644 -t "$1/rootfs/etc/lighttpd" "$IMAGES/lighttpd/lighttpd.conf"
  install -D -m 644 -t "$1/rootfs/var/www" "$IMAGES/lighttpd/index.html"
}

# busybox ROOTFS: a shell and the tools of one.
busybox() {
  local applet
  take "$1" bin/busybox
  for applet in $("$FROM/bin/busybox" --list); do
    [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"
  done
}

rootfs_nginx() {
  base "$1/rootfs" nginx 101
  take_program "$1/rootfs" usr/sbin/nginx usr/lib/nginx/modules/ngx_stream_module.so
  take "$1/rootfs" etc/nginx/mime.types usr/share/nginx/modules
  busybox "$1/rootfs"
  install -m 644 -t "$1/rootfs/etc/nginx" "$IMAGES/nginx/nginx.conf"
  # For configurations that name no other place.
  mkdir -p "$1"/writable/{run,var/{lib/nginx,log/nginx}}
}

rootfs_databases() {
  local FROM=$PARTS/databases rootfs=$1/rootfs
  base "$rootfs" database 999
  # shellcheck disable=SC2046
  take_program "$rootfs" usr/sbin/mariadbd usr/bin/{mariadb,my_print_defaults,resolveip} \
    $(cd "$FROM" && echo usr/lib/postgresql/*/bin/{initdb,postgres,psql} usr/lib/postgresql/*/lib/{dict_snowball,plpgsql}.so)
  take "$rootfs" usr/bin/mariadb-install-db usr/share/{mysql,postgresql}
  busybox "$rootfs"
  install -D -t "$rootfs/etc/databases" "$IMAGES"/databases/*.{sh,sql}
  mkdir -p "$1/writable/data"
}
