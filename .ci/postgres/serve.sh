#!/bin/bash
# PostgreSQL in the foreground, on 127.0.0.1 only, in a new folder.  usage: serve.sh DIR PORT
# Prints READY and a URL whose role may create databases. DIR must not exist; everyone must be able to reach it.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: serve.sh DIR PORT" >&2; exit 2; }
dir=$1 port=$2
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)
[ -x "$bin/postgres" ] || { echo "PostgreSQL is missing: apt install postgresql" >&2; exit 2; }

# It refuses to run as root, which is who builds.
as_owner=()
if [ "$(id -u)" -eq 0 ]; then
  install -d -o postgres -g postgres -m 700 "$dir"
  as_owner=(setpriv --reuid=postgres --regid=postgres --init-groups)
else
  install -d -m 700 "$dir"
fi
cd "$dir"
echo bridge >password
"${as_owner[@]}" "$bin/initdb" -D data -U bridge -A scram-sha-256 --pwfile=password -E UTF8 --locale=C.UTF-8 >initdb.log 2>&1 \
  || { cat initdb.log >&2; exit 1; }
"${as_owner[@]}" "$bin/postgres" -D data -c listen_addresses=127.0.0.1 -c port="$port" \
  -c unix_socket_directories="$dir" -c max_connections=200 &
server=$!
trap 'kill -INT "$server" 2>/dev/null; wait "$server"' EXIT
trap 'exit 130' INT TERM
for _ in $(seq 300); do
  if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; then
    echo "READY postgresql://bridge:bridge@127.0.0.1:$port/postgres"
    wait "$server"
    exit
  fi
  kill -0 "$server" || exit 1
  sleep 0.1
done
exit 1
