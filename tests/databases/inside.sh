#!/bin/bash
# What run.sh runs inside the namespaces: inside.sh ROOT WORK
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../cluster/lib.sh"
ROOT=$1 WORK=$2
ip link set lo up
# The packages' folder stays as it is: what is written goes to memory.
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t tmpfs tmpfs "$ROOT/dev"
mknod -m 666 "$ROOT/dev/null" c 1 3
mknod -m 666 "$ROOT/dev/urandom" c 1 9
mkdir -m 1777 "$ROOT/dev/shm"
chmod 1777 "$ROOT/tmp"
export LC_ALL=C
in_root() { chroot --userspec=999:999 "$ROOT" "$@"; }

# authority NAME, leaf NAME AUTHORITY EXTENSIONS: in $WORK.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$WORK/$1.key" -out "$WORK/$1.crt" 2> /dev/null
}
leaf() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$WORK/$1.key" -out "$WORK/$1.csr" 2> /dev/null
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n%s\n' "$3" > "$WORK/$1.ext"
  openssl x509 -req -in "$WORK/$1.csr" -CA "$WORK/$2.crt" -CAkey "$WORK/$2.key" -CAcreateserial -days 2 \
    -extfile "$WORK/$1.ext" -out "$WORK/$1.crt" 2> /dev/null
}
authority servers; authority callers
leaf server servers $'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:databases.shop.svc'
leaf gateway callers $'extendedKeyUsage=clientAuth\nsubjectAltName=URI:spiffe://test/gateway'
leaf stranger callers $'extendedKeyUsage=clientAuth\nsubjectAltName=URI:spiffe://test/stranger'

port() {
  echo "{port: $1, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}"
}
route() {
  echo "{name: shop/$1, port: $2, callers: [{name: gateway, certificates:
    [{type: Identity, authority: postern, identity: 'spiffe://test/gateway'}]}]}"
}
cat > "$WORK/sidecar.yaml" <<YAML
listeners:
  - {address: "127.0.0.1:13306", port: 3306, upstream: "127.0.0.1:3306"}
  - {address: "127.0.0.1:15432", port: 5432, upstream: "127.0.0.1:5432"}
server: {certificateFile: $WORK/server.crt, privateKeyFile: $WORK/server.key}
policy:
  authorities:
    - name: postern
      type: Postern
      roots: |
$(sed 's/^/        /' "$WORK/callers.crt")
  ports: [$(port 3306), $(port 5432)]
  routes: [$(route mariadb 3306), $(route postgresql 5432)]
metricsAddress: "127.0.0.1:19090"
probeAddress: "127.0.0.1:19091"
YAML

cp "$WORK"/{servers,gateway,stranger}.{crt,key} "$ROOT/tmp"
chown 999:999 "$ROOT"/tmp/*.{crt,key}; chmod 600 "$ROOT"/tmp/*.key
# tunnel NAME LISTEN CONNECT: one service of stunnel with a key.
tunnel() {
  printf '[%s-%s]\nclient = yes\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:%s\ncert = /tmp/%s.crt\nkey = /tmp/%s.key
CAfile = /tmp/servers.crt\nverifyChain = yes\ncheckHost = databases.shop.svc\nsni = databases.shop.svc\n' \
    "$1" "$2" "$2" "$3" "$1" "$1"
}
{
  printf 'foreground = yes\npid =\n'
  tunnel gateway 23306 13306; tunnel gateway 25432 15432
  tunnel stranger 33306 13306; tunnel stranger 35432 15432
} > "$ROOT/tmp/stunnel.conf"

# The servers, as their packages start them, less what needs an installation.
echo app-password > "$ROOT/tmp/password"
cat > "$ROOT/tmp/accounts.sql" <<'SQL'
CREATE DATABASE shop;
CREATE USER app@'%' IDENTIFIED BY 'app-password';
GRANT ALL ON shop.* TO app@'%';
SQL
cat > "$ROOT/tmp/mariadb.sh" <<'SH'
mariadb-install-db --no-defaults --datadir=/tmp/mariadb --auth-root-authentication-method=normal --skip-test-db
exec mariadbd --no-defaults --datadir=/tmp/mariadb --bind-address=127.0.0.1 --socket=/tmp/mariadb.sock \
  --pid-file=/tmp/mariadb.pid --init-file=/tmp/accounts.sql --innodb-buffer-pool-size=16M --max-allowed-packet=64M
SH
cat > "$ROOT/tmp/postgresql.sh" <<'SH'
cd /usr/lib/postgresql/*/bin
./initdb -D /tmp/postgresql -U app --pwfile=/tmp/password --auth=scram-sha-256
exec ./postgres -D /tmp/postgresql -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp
SH
# start NAME COMMAND...: in the background, its output into $WORK.
start() { local name=$1; shift; "$@" > "$WORK/$name.log" 2>&1 & }
start mariadb in_root dash /tmp/mariadb.sh
start postgresql in_root dash /tmp/postgresql.sh
start sidecar "$WORK/postern-sidecar" --config "$WORK/sidecar.yaml"
start stunnel in_root stunnel4 /tmp/stunnel.conf

export PGPASSWORD=app-password PGCONNECT_TIMEOUT=15
mariadb() {
  local port=$1; shift
  in_root mariadb --no-defaults --connect-timeout=15 --host=127.0.0.1 --port="$port" --user=app \
    --password=app-password --skip-column-names --batch --max-allowed-packet=64M shop "$@"
}
postgresql() { local port=$1; shift; in_root psql --host=127.0.0.1 --port="$port" --username=app --dbname=postgres -At "$@"; }
failed() { tail -n 20 "$WORK"/*.log >&2; die "$1"; }
# refused CODE WHAT COMMAND...: the command fails, and the sidecar says why.
refused() {
  local code=$1 what=$2; shift 2
  if "$@" > /dev/null 2>&1; then failed "$what got in"; fi
  wait_for 5 "a refusal for $code, of $what" grep -q "\"code\":\"$code\"" "$WORK/sidecar.log" || failed "$what was refused by somebody else"
}

wait_for 120 "MariaDB behind the tunnel" mariadb 23306 --execute 'SELECT 1' || failed "MariaDB can't be called"
wait_for 120 "PostgreSQL behind the tunnel" postgresql 25432 --command 'SELECT 1' || failed "PostgreSQL can't be called"

LARGE=$((8 << 20))
mariadb 23306 --execute "CREATE TABLE t (big LONGTEXT); INSERT INTO t VALUES (REPEAT('x', $LARGE))"
[ "$(mariadb 23306 --execute 'SELECT big FROM t' | tr -d '\n' | wc -c)" = $LARGE ] || failed "MariaDB's answer is not whole"
postgresql 25432 --command 'CREATE TABLE t (big TEXT)' --command "INSERT INTO t VALUES (repeat('x', $LARGE))" > /dev/null
[ "$(postgresql 25432 --command 'SELECT big FROM t' | tr -d '\n' | wc -c)" = $LARGE ] || failed "PostgreSQL's answer is not whole"

refused PlaintextRefused "PostgreSQL's client without the tunnel" postgresql 15432 --command 'SELECT 1'
refused NoRoute "MariaDB's client with a key that has no route" mariadb 33306 --execute 'SELECT 1'
refused NoRoute "PostgreSQL's client with a key that has no route" postgresql 35432 --command 'SELECT 1'
say "MariaDB $(mariadb 23306 --execute 'SELECT VERSION()') and PostgreSQL $(postgresql 25432 --command 'SHOW server_version') work behind the lock, and only with the key"
