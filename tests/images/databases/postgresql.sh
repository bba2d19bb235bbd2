#!/bin/sh
# A new PostgreSQL with the account 'app'.
set -e
cd /usr/lib/postgresql/*/bin
echo app-password > /tmp/password
./initdb -D /data/postgresql -U app --pwfile=/tmp/password --auth=scram-sha-256
echo 'host all all all scram-sha-256' >> /data/postgresql/pg_hba.conf
exec ./postgres -D /data/postgresql -c listen_addresses='*' -c unix_socket_directories=/tmp
