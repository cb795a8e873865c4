#!/bin/bash
# litewitness, the reference witness, in the foreground on 127.0.0.1.
#   serve.sh BIN DIR PORT NAME ORIGIN VKEY...
# BIN is the program; DIR is made and gets its key and its memory; it cosigns for the log ORIGIN with the keys VKEY.
# Prints the witness's own verifier key and READY.
set -euo pipefail
[ $# -ge 6 ] || { echo "usage: serve.sh BIN DIR PORT NAME ORIGIN VKEY..." >&2; exit 2; }
bin=$1 dir=$2 port=$3 name=$4 origin=$5
shift 5
mkdir -p "$dir"
cd "$dir"

[ -f key ] || ssh-keygen -q -t ed25519 -N '' -C '' -f key
ssh-agent -D -a "$dir/agent.sock" >/dev/null & agent=$!
witness=
trap 'kill $witness $agent 2>/dev/null; wait' EXIT
trap 'exit 130' INT TERM
export SSH_AUTH_SOCK=$dir/agent.sock
for _ in $(seq 100); do [ -S agent.sock ] && break; sleep 0.05; done
ssh-add -q key

fingerprint=$(ssh-keygen -lf key.pub | cut -d' ' -f2)
start() {
  "$bin" -name "$name" -db witness.db -ssh-agent agent.sock -key "$fingerprint" -listen "127.0.0.1:$port" >witness.log 2>&1 &
  witness=$!
  for _ in $(seq 200); do
    if curl -s -o /dev/null "http://127.0.0.1:$port/"; then return; fi
    kill -0 "$witness" || { cat witness.log >&2; exit 1; }
    sleep 0.05
  done
  exit 1
}
start # makes the tables
if ! sqlite3 witness.db "select origin from log" 2>/dev/null | grep -q .; then
  empty='47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
  sqlite3 witness.db "insert into log values('$origin',0,'$empty')"
  for vkey in "$@"; do sqlite3 witness.db "insert into key values('$origin','$vkey')"; done
fi
grep -o "$name+[0-9a-f]*+[A-Za-z0-9+/=]*" witness.log | head -1
echo READY
wait "$witness"
