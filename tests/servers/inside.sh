#!/bin/bash
# What run.sh runs inside the namespaces: inside.sh PACKAGES WORK
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
PACKAGES=$(readlink -f "$1") WORK=$2
ip link set lo up

# The packages' folder stays as it is: what is written lies beside it.
ROOT=$WORK/root
mkdir -p "$ROOT"/{dev,etc,tmp,usr,var/lib/nginx,var/log/nginx,var/tmp,var/www/cgi-bin}
mount --bind "$PACKAGES/usr" "$ROOT/usr"
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$ROOT/$link"; done
mount -t tmpfs tmpfs "$ROOT/dev"
mknod -m 666 "$ROOT/dev/null" c 1 3
printf 'root:x:0:0::/:/bin/sh\nserver:x:999:999::/:/bin/sh\n' > "$ROOT/etc/passwd"
printf 'root:x:0:\nserver:x:999:\n' > "$ROOT/etc/group"
head -c 1048583 /dev/urandom > "$ROOT/var/www/large.bin"
for ((i = 0; i < 300; i++)); do echo "<p>order $i</p>"; done > "$ROOT/var/www/index.html"
: > "$ROOT/var/www/empty.txt"
printf '#!/bin/busybox sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nexec busybox cat\n' > "$ROOT/var/www/cgi-bin/echo"
chmod 755 "$ROOT/var/www/cgi-bin/echo"
chown -R 999:999 "$ROOT/var" "$ROOT/tmp"

cat > "$ROOT/etc/nginx.conf" <<'CONF'
daemon off; master_process off; pid /tmp/nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
  access_log off; types { text/html html; } gzip on; gzip_min_length 1; gzip_proxied any;
  server {
    listen 127.0.0.1:8001; root /var/www;
    location /stored/ { client_max_body_size 0; dav_methods PUT DELETE; create_full_put_path on; }
    location = /teapot { return 418 "short and stout"; }
    location = /nothing { return 204; }
  }
}
CONF
cat > "$ROOT/etc/lighttpd.conf" <<'CONF'
server.bind = "127.0.0.1"
server.port = 8002
server.document-root = "/var/www"
server.modules = ("mod_cgi")
server.stream-request-body = 1
server.stream-response-body = 1
mimetype.assign = (".html" => "text/html")
$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }
CONF
as_server() { exec chroot --userspec=999:999 "$ROOT" "$@"; }
(as_server /usr/sbin/nginx -c /etc/nginx.conf) > "$WORK/nginx.log" 2>&1 &
(as_server /usr/sbin/lighttpd -D -f /etc/lighttpd.conf) > "$WORK/lighttpd.log" 2>&1 &
(as_server /bin/busybox httpd -f -p 127.0.0.1:8003 -h /var/www) > "$WORK/busybox.log" 2>&1 &

cd "$WORK"
for name in servers callers; do
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$name" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$name.key" -out "$name.crt" 2> /dev/null
done
# leaf NAME AUTHORITY EXTENSIONS
leaf() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$1.key" -out "$1.csr" 2> /dev/null
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%s\n' "$3" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 \
    -extfile "$1.ext" -out "$1.crt" 2> /dev/null
}
leaf server servers $'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost'
leaf gateway callers $'extendedKeyUsage=clientAuth\nsubjectAltName=URI:spiffe://test/gateway'
{
  echo "server: {certificateFile: server.crt, privateKeyFile: server.key}"
  echo "listeners:"
  for port in 8001 8002 8003; do
    echo "  - {address: '127.0.0.1:1$port', port: $port, upstream: '127.0.0.1:$port'}"
  done
  printf 'policy:\n  authorities: [{name: postern, type: Postern}]\n  ports:\n'
  for port in 8001 8002 8003; do
    echo "    - {port: $port, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}"
  done
  printf '  routes:\n'
  for port in 8001 8002 8003; do
    echo "    - {name: shop/r$port, port: $port, callers: [{name: gateway, certificates:
        [{type: Identity, authority: postern, identity: 'spiffe://test/gateway'}]}]}"
  done
  echo "files: {roots: [{authority: postern, file: callers.crt}]}"
} > sidecar.yaml
./postern-sidecar --config sidecar.yaml > sidecar.log 2>&1 &

if ! python3 "$REPO/tests/servers/compare.py" "$WORK"; then
  tail -n 20 ./*.log >&2
  die "a server's answer through the sidecar is another than without it (above)"
fi
