"""Which ways of writing the same thing are known of which server."""

from __future__ import annotations

from fhir_bridge.codes import mapping


def known_normalisations(software: str, version: str) -> tuple[str, ...]:
    """
    Return what a server is known to write differently without loss.

    Args:
        software: CapabilityStatement.software.name; its beginning counts.
        version: CapabilityStatement.software.version; its beginning counts.

    Returns:
        Ids from ``mappings/normalisations.json``; for an unknown server those
        that FHIR itself declares to mean the same.
    """
    data = mapping("normalisations.json")
    found = list(data["always"])
    for server in data["servers"]:
        named = software.casefold().startswith(server["software"].casefold())
        if named and version.startswith(tuple(server["versions"])):
            found += server["normalises"]
    return tuple(found)
