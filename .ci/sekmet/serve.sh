#!/bin/bash
# One SEKMET server on 127.0.0.1, in memory.  usage: serve.sh FOLDER PORT [SETTINGS]
# FOLDER gets its settings, with those of the file SETTINGS besides, and a key; end it by its process id. It is installed in .venv beside this.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cd "$1"
# Without `host` it listens on every network of the machine.
cat > settings.yaml <<SETTINGS
base_url: http://127.0.0.1:$2/fhir
host: 127.0.0.1
port: $2
db_path: ":memory:"
own_private_key_path: ./keys/private.pem
facility_name: fhir-bridge tests
simulator: {enabled: false}
SETTINGS
if [ -n "${3:-}" ]; then cat "$3" >> settings.yaml; fi
exec "$here/.venv/bin/sekmet" serve -c settings.yaml
