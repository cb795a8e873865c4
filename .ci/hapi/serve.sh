#!/bin/bash
# One HAPI FHIR R4 server on 127.0.0.1, in memory.
#   serve.sh PORT       says "READY http://127.0.0.1:PORT/fhir" when it answers; end it by its process id
#   serve.sh archive    once after the build: writes the class archive that halves every later start
# HAPI_HEAP sets the heap (700m; 3g carries 100,000 resources).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./java.sh
java_flags+=("-Xmx${HAPI_HEAP:-700m}")
archive=target/classes.jsa
if [ "$1" = archive ]; then
  rm -f "$archive"
  exec java "${java_flags[@]}" "-XX:ArchiveClassesAtExit=$archive" -Dport=0 -DexitWhenReady=true \
    -cp "$class_path" servers.HapiServer
fi
if [ -f "$archive" ]; then
  java_flags+=("-XX:SharedArchiveFile=$archive")
fi
exec java "${java_flags[@]}" "-Dport=$1" -cp "$class_path" servers.HapiServer
