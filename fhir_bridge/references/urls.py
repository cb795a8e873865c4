"""What a URL must not carry to another organisation: a password or a token."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit, urlunsplit

from fhir_bridge.codes import mapping


def without_secrets(url: str) -> str:
    """
    Take user information and tokens out of a URL.

    Args:
        url: As received.

    Returns:
        The same text when there is nothing to take out.

    Source:
        Our own rule; the names of parameters that carry a token are listed in
        ``mappings/url-secrets.json``.
    """
    if "@" not in url and "?" not in url and "#" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL that could be read: keep what cannot hold a secret
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    cleaned = parts._replace(
        netloc=parts.netloc.rpartition("@")[2],
        query=_without_tokens(parts.query),
        fragment=_without_tokens(parts.fragment),
    )
    return url if cleaned == parts else urlunsplit(cleaned)


def _without_tokens(query: str) -> str:
    kept = [pair for pair in query.split("&") if pair.partition("=")[0].lower() not in _tokens()]
    return "&".join(kept)


@cache
def _tokens() -> frozenset[str]:
    return frozenset(mapping("url-secrets.json")["parameters"])
