#!/bin/bash
# Verify an export or a receipt of a fhir_bridge audit log:
#   bash verify.sh KEY EXPORT-FOLDER
#   bash verify.sh KEY RECEIPT-FILE
# KEY is the custodian's root key, or the log's own key, as one line (name+id+key).
# Take KEY and this script from the custodian or your own files, never from the export itself.
# Needs bash, openssl 3, sha256sum, and what every Linux has: od, cut, sed, tr, base64, tail, grep,
# find, sort, cmp, split, mktemp.
# Ends with 0: right, 1: not what was signed, 2: cannot be used.
set -euo pipefail
export LC_ALL=C

wrong() { echo "WRONG: $*" >&2; exit 1; }
unusable() { echo "CANNOT BE USED: $*" >&2; exit 2; }
[ $# -eq 2 ] || unusable "bash verify.sh KEY EXPORT-FOLDER | RECEIPT-FILE"
for tool in openssl sha256sum od cut sed tr base64 tail grep find sort cmp split mktemp; do
  command -v "$tool" >/dev/null || unusable "$tool is missing on this machine"
done
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) # memory, where there is such a folder
trap 'rm -rf "$work"' EXIT

hex() { od -An -v -tx1 | tr -d ' \n'; }            # bytes to hexadecimal
bytes() { printf '%b' "$(sed 's/../\\x&/g' <<<"$1")"; }  # hexadecimal to bytes
digest() { sha256sum | cut -c1-64; }

# ---- keys and signed notes (c2sp.org/signed-note)

load_key() { # LINE: sets key_name, key_id; writes $work/key.der
  key_name=${1%%+*}
  local rest=${1#*+}
  key_id=${rest%%+*}
  local raw
  raw=$(base64 -d <<<"${rest#*+}" 2>/dev/null | hex) || unusable "a key is not base64"
  [ ${#raw} -eq 66 ] && [ "${raw:0:2}" = 01 ] || unusable "a key is not an Ed25519 key of a log"
  [ "$({ printf '%s\n' "$key_name"; bytes "$raw"; } | digest | cut -c1-8)" = "$key_id" ] ||
    unusable "a key's id does not belong to it"
  bytes "302a300506032b6570032100${raw:2}" >"$work/key.der"
}

read_note() { # FILE: sets note_lines (with signatures), note_gap (index of the last empty line); writes $work/text
  mapfile -t note_lines <"$1"
  note_gap=-1
  local at
  for ((at = ${#note_lines[@]} - 1; at >= 0; at--)); do
    if [ -z "${note_lines[at]}" ]; then note_gap=$at; break; fi
  done
  [ "$note_gap" -gt 0 ] || wrong "$1 is not a signed note"
  printf '%s\n' "${note_lines[@]:0:note_gap}" >"$work/text"
}

signed_by_key() { # the note last read has a right signature by the key last loaded
  local at line signature
  for ((at = note_gap + 1; at < ${#note_lines[@]}; at++)); do
    line=${note_lines[at]}
    [ "${line% *}" = $'\xe2\x80\x94'" $key_name" ] || continue
    signature=$(base64 -d <<<"${line##* }" 2>/dev/null | hex) || continue
    [ "${signature:0:8}" = "$key_id" ] || continue
    bytes "${signature:8}" >"$work/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
      -in "$work/text" -sigfile "$work/signature" >/dev/null 2>&1 || return 1
    return 0
  done
  return 1
}

log_keys() { # POLICY-FILE ORIGIN SIZE: sets keys (all must have signed a checkpoint of this size)
  local words name sizes
  keys=()
  load_key "$root"
  if [ "$key_name" = "$2" ]; then keys=("$root"); return; fi
  [ -s "$1" ] || unusable "there is no policy: give the log's own key"
  read_note "$1"
  signed_by_key || wrong "the policy is not signed by the key that you gave"
  while read -r -a words; do
    [ "${words[0]:-}" = log ] || continue
    name=${words[1]%%+*}
    [ "$name" = "$2" ] || continue
    sizes=${words[2]:-urn:fhir-bridge:sizes:0-}
    case $sizes in urn:fhir-bridge:sizes:*) sizes=${sizes##*:} ;; *) sizes=0- ;; esac
    [ "$3" -ge "${sizes%-*}" ] || continue
    if [ -n "${sizes#*-}" ] && [ "$3" -ge "${sizes#*-}" ]; then continue; fi
    keys+=("${words[1]}")
  done <"$work/text"
  [ ${#keys[@]} -gt 0 ] || wrong "the policy has no key for log $2 at $3 entries"
}

open_checkpoint() { # NOTE-FILE POLICY-FILE: sets origin, size, root_hash; verified
  read_note "$1"
  local lines
  mapfile -t lines <"$work/text"
  [ ${#lines[@]} -eq 3 ] || wrong "$1 is not a checkpoint"
  origin=${lines[0]} size=${lines[1]}
  [[ $size =~ ^(0|[1-9][0-9]{0,17})$ ]] || wrong "$1 has no size"
  root_hash=$(base64 -d <<<"${lines[2]}" 2>/dev/null | hex)
  log_keys "$2" "$origin" "$size"
  read_note "$1"
  local key
  for key in "${keys[@]}"; do
    load_key "$key"
    signed_by_key || wrong "$1 is not signed by the key of log $origin at $size entries"
  done
}

# ---- the tree (RFC 6962)

hash_files() { # FILE...: hashes each file into the array hashes, each as \xHH...
  local some
  hashes=()
  while [ $# -gt 0 ]; do
    mapfile -t some < <(sha256sum "${@:1:1000}" | cut -c1-64 | sed 's/../\\x&/g')
    hashes+=("${some[@]}")
    shift $(($# < 1000 ? $# : 1000))
  done
}

tile_path() { # N WIDTH: numbered as c2sp.org/tlog-tiles says
  local digits path=
  digits=$(printf '%03d' "$1")
  while [ $((${#digits} % 3)) -ne 0 ]; do digits=0$digits; done
  while [ ${#digits} -gt 3 ]; do path+="x${digits:0:3}/"; digits=${digits:3}; done
  path+=$digits
  if [ "$2" -lt 256 ]; then path+=".p/$2"; fi
  echo "$path"
}

leaves() { # FILE COUNT: hashes the entries of one bundle into the array hashes
  local lines line=0 near= length at
  # Piece by piece: bash copies a whole string for each part that it takes out of it.
  mapfile -t lines < <(od -An -v -tx1 -w1024 "$1" | sed 's/ /\\x/g')
  for ((at = 0; at < $2; at++)); do
    while [ ${#near} -lt 8 ] && [ "$line" -lt ${#lines[@]} ]; do near+=${lines[line++]}; done
    [ ${#near} -ge 8 ] || wrong "$1 does not hold $2 entries"
    length=$((16#${near:2:2}${near:6:2} * 4 + 8))
    while [ ${#near} -lt "$length" ] && [ "$line" -lt ${#lines[@]} ]; do near+=${lines[line++]}; done
    [ ${#near} -ge "$length" ] || wrong "$1 does not hold $2 entries"
    printf "\\x00${near:8:length - 8}" >"$work/n/$at"
    near=${near:length}
  done
  [ -z "$near" ] && [ "$line" -eq ${#lines[@]} ] || wrong "$1 does not hold $2 entries"
  hash_files "${names[@]:0:$2}"
}

tree_root() { # FOLDER SIZE: sets computed, in hexadecimal
  local n at width file next
  local -a tree=() names=()
  mkdir "$work/n"
  for ((at = 0; at < 256; at++)); do names+=("$work/n/$at"); done
  for ((n = 0; n * 256 < $2; n++)); do
    width=$(($2 - n * 256 < 256 ? $2 - n * 256 : 256))
    file="$1/tile/entries/$(tile_path "$n" "$width")"
    [ -f "$file" ] || unusable "$file is missing"
    leaves "$file" "$width"
    tree+=("${hashes[@]}")
  done
  while [ ${#tree[@]} -gt 1 ]; do
    rm -rf "$work/n"
    mkdir "$work/n"
    for ((at = 0; at + 1 < ${#tree[@]}; at += 2)); do
      printf "\\x01${tree[at]}${tree[at + 1]}"
    done | split -b 65 -a 5 - "$work/n/"
    hash_files "$work/n/"*
    next=("${hashes[@]}")
    if [ $((${#tree[@]} % 2)) -eq 1 ]; then next+=("${tree[-1]}"); fi
    tree=("${next[@]}")
  done
  computed=${tree[0]//\\x/}
}

# ---- a whole export, or the receipts of one transfer

verify_export() {
  local file name
  for name in manifest checkpoint; do
    [ -f "$1/$name" ] || unusable "$1 has no file $name: it is not an export"
  done
  open_checkpoint "$1/checkpoint" "$1/policy"
  local log=$origin total=$size signed=$root_hash good=
  read_note "$1/manifest"
  for key in "${keys[@]}"; do
    load_key "$key"
    if signed_by_key; then good=yes; fi
  done
  [ -n "$good" ] || wrong "the manifest is not signed by the key of log $log"
  cp "$work/text" "$work/manifest"
  [ "$(sed -n 2,3p "$work/manifest" | tr '\n' ' ')" = "log $log size $total " ] ||
    wrong "the manifest is of another export"
  grep -E '^[0-9a-f]{64}  ' "$work/manifest" >"$work/files"
  (cd "$1" && sha256sum --check --strict --quiet "$work/files" >&2) ||
    wrong "a file is missing or is not the one that was exported"
  (cd "$1" && find . -mindepth 1 ! -type d | cut -c3- | sort) >"$work/there"
  { cut -c67- "$work/files"; echo manifest; } | sort | cmp -s - "$work/there" ||
    wrong "a file was added to the export"
  if [ -d "$1/receipts" ]; then
    for file in "$1"/receipts/*; do verify_receipt "$file" "$1/policy"; done
    return
  fi
  tree_root "$1" "$total"
  [ "$computed" = "$signed" ] ||
    wrong "the entries do not lead to the signed checkpoint: one was changed, dropped, added or moved"
  echo "RIGHT: $total entries of log $log are those that were signed."
}

# ---- a receipt (c2sp.org/tlog-proof)

verify_receipt() { # FILE POLICY-FILE
  local lines at index hash step entry body policy=$2
  mapfile -t lines <"$1"
  [ "${lines[0]}" = c2sp.org/tlog-proof@v1 ] || unusable "$1 is not a receipt"
  base64 -d <<<"${lines[1]#extra }" >"$work/extra" 2>/dev/null || unusable "$1 cannot be read"
  part entry >"$work/entry"
  part salt >"$work/opened"
  part body >>"$work/opened"
  if [ -z "$policy" ]; then policy=$work/policy; part policy >"$policy"; fi
  index=${lines[2]#index }
  [[ $index =~ ^(0|[1-9][0-9]{0,17})$ ]] || unusable "$1 has no index"
  for ((at = 3; at < ${#lines[@]}; at++)); do [ -n "${lines[at]}" ] || break; done
  printf '%s\n' "${lines[@]:at + 1}" >"$work/note"
  local -a proof=("${lines[@]:3:at - 3}")
  open_checkpoint "$work/note" "$policy"
  [ "$index" -lt "$size" ] || wrong "$1 proves an entry that the log does not have"
  local last=$((size - 1)) here=$index
  hash=$({ printf '\0'; cat "$work/entry"; } | digest)
  for step in "${proof[@]}"; do
    step=$(base64 -d <<<"$step" 2>/dev/null | hex)
    [ "$last" -gt 0 ] && [ ${#step} -eq 64 ] || wrong "the proof in $1 is not one"
    if [ $((here & 1)) -eq 1 ] || [ "$here" -eq "$last" ]; then
      hash=$(bytes "01$step$hash" | digest)
      while [ "$here" -ne 0 ] && [ $((here & 1)) -eq 0 ]; do here=$((here >> 1)) last=$((last >> 1)); done
    else
      hash=$(bytes "01$hash$step" | digest)
    fi
    here=$((here >> 1)) last=$((last >> 1))
  done
  [ "$last" -eq 0 ] && [ "$hash" = "$root_hash" ] || wrong "the entry in $1 is not in the log"
  entry=$(cat "$work/entry")
  [[ $entry == *"\"idx\":$index,\"log\":\"$origin\","* ]] || wrong "the entry in $1 is another one"
  echo "RIGHT: entry $index of log $origin, signed at $size entries:"
  echo "$entry"
  if [ -s "$work/opened" ]; then
    body=$(openssl dgst -sha256 -binary "$work/opened" | base64)
    [[ $entry == *"\"digest\":\"$body\""* ]] || wrong "what is shown in $1 is not what the entry commits to"
    echo "It commits to:"
    tail -c +33 "$work/opened"
    echo
  else
    echo "What it commits to, if anything, is not shown."
  fi
}

part() { # NAME: a part of the receipt, decoded
  sed -n "s/^$1 //p" "$work/extra" | base64 -d
}

root=$1
load_key "$root"
if [ -d "$2" ]; then
  verify_export "$2"
elif [ -f "$2" ]; then
  verify_receipt "$2" ""
else
  unusable "$2 is neither a folder nor a file"
fi
echo "What this cannot see: whether a longer log was put back to this one, or all of it was written"
echo "anew by someone who has its key. Compare the checkpoint with one that you kept."
