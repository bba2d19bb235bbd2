#!/bin/sh
# A new MariaDB with the database 'shop' and the account that accounts.sql makes.
set -e
mariadb-install-db --no-defaults --datadir=/data/mariadb --auth-root-authentication-method=normal --skip-test-db
exec mariadbd --no-defaults --datadir=/data/mariadb --socket=/tmp/mariadb.sock --pid-file=/tmp/mariadb.pid \
  --init-file=/etc/databases/accounts.sql --innodb-buffer-pool-size=16M --max-allowed-packet=64M
