#!/bin/bash
# HL7's validator as a line server (see LineValidator.java), with the profiles that we claim.
# The packages lie in FHIR_BRIDGE_TEST_DATA/ig_packages.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=$(cd "${FHIR_BRIDGE_TEST_DATA:-$here/../../../shared/data}/ig_packages" && pwd)
cd "$here"
source ./java.sh
# In the order of their dependencies; one US Core only, because all versions share their addresses.
guides=hl7.fhir.uv.extensions.r4.tgz,ihe.iti.balp.tgz,ihe.iti.mhd.tgz,us_core_610.tgz
exec java -Xmx1500m -Xss4m "${java_flags[@]}" "-Dpackages=$guides" -cp "$class_path:$packages" \
  servers.LineValidator
