"""
A link in an answer is data from outside: where may it lead?

Only to the server that sent it, inside the base that was registered. The URL
that is asked is always put together from our own base and the link's path and
query, never taken over as it was written.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from fhir_bridge.errors import ForeignLink, SettingsError
from fhir_bridge.settings.addresses import is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_DECODINGS_MAX = 4
_ABSOLUTE = re.compile(r"https?://[^/?#]*(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?", re.IGNORECASE)


def normalised_base(base: str, *, insecure: bool = False, with_credential: bool = False) -> str:
    """
    Return a server's FHIR base in its one written form, without trailing slash.

    Args:
        base: As the operator wrote it.
        insecure: The operator allows plain http to this server.
        with_credential: A credential would travel along.

    Raises:
        SettingsError: Not a base, plain http that is not allowed, or an
            address that is never a provider's server (link-local: cloud
            machines answer there with secrets of their own).
    """
    parts = _split_base(base)
    host = parts.hostname or ""
    if _is_link_local(host):
        raise SettingsError("a server's base cannot be a link-local address: check it")
    if parts.scheme == "http" and not is_loopback(host):
        if not insecure:
            raise SettingsError(
                f"{host} is asked over plain http, which anyone on the way can read: use https, or"
                " set insecure = true for this server in fhir-bridge.toml"
            )
        if with_credential:
            raise SettingsError(f"a credential never travels over plain http: use https for {host}")
    name = f"[{host}]" if ":" in host else host
    port = parts.port
    where = name if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{name}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"


def same_origin(base: str, url: str) -> bool:
    """
    Return whether a URL leads to the scheme, host and port of a normalised base.

    Args:
        base: A normalised base.
        url: From outside.
    """
    try:
        parts = urlsplit(url)
        plain = "@" not in parts.netloc and not _FORBIDDEN.search(url)
        return plain and _origin(parts) == _origin(urlsplit(base))
    except ValueError:
        return False


def follow(base: str, link: str) -> str:
    """
    Return the URL of a link found in an answer of `base`.

    Args:
        base: A normalised base, e.g. ``https://first.example/fhir``.
        link: Absolute or relative to the base, as the server wrote it.

    Raises:
        ForeignLink: Another scheme, host or port, user info, a path outside
            the base (also when hidden by percent-encoding), or no URL at all.

    Source:
        Our own rule; resolving against the base is
        https://hl7.org/fhir/R4/references.html#literal.
    """
    home = urlsplit(base)
    if not link or _FORBIDDEN.search(link):
        raise ForeignLink(f"a link in an answer of {home.hostname} is not a URL")
    try:
        written, target = urlsplit(link), urlsplit(urljoin(base + "/", link))
        origin = _origin(target)
    except ValueError as error:
        raise ForeignLink(f"a link in an answer of {home.hostname} is not a URL") from error
    if written.scheme and not written.netloc:
        raise ForeignLink(f"a link in an answer of {home.hostname} is not a URL of a server")
    if "@" in target.netloc or origin != _origin(home):
        raise ForeignLink(f"a link leads away from {home.hostname}; it was not followed")
    return _inside(home, target.path, target.query)


def rebuild(base: str, link: str, asked: str) -> str:
    """
    Return the URL on our base that a page link with a wrong host means.

    Servers behind a proxy write the host and port that they see themselves
    into `next`, or a port twice (``:443:443``). Asking our own base with the
    link's query gives nothing away: the credential stays where it belongs.

    Args:
        base: A normalised base.
        link: The page link, which `follow` refused.
        asked: What was asked first, relative to the base, e.g. ``Observation``.

    Raises:
        ForeignLink: Neither does its path lie in our base, nor is it the page
            of what was asked; or it holds no query to tell the page.
    """
    home = urlsplit(base)
    match = None if _FORBIDDEN.search(link) else _ABSOLUTE.match(link)
    if match is None or not match["query"]:
        raise ForeignLink(f"a page link leads away from {home.hostname}; it was not followed")
    path = match["path"] or ""
    if path == home.path or path.startswith(home.path + "/"):
        return _inside(home, path, match["query"])
    if asked and path.endswith("/" + asked):
        return _inside(home, f"{home.path}/{asked}", match["query"])
    raise ForeignLink(f"a page link leads away from {home.hostname}; it was not followed")


def _inside(home: SplitResult, path: str, query: str) -> str:
    """Put the URL together again once its path is known to lie in the base."""
    for plain in _decodings(path):
        if _FORBIDDEN.search(plain.replace(" ", "")) or _has_dots(plain):
            raise ForeignLink(f"a link climbs out of the base at {home.hostname}")
    if path != home.path and not path.startswith(home.path + "/"):
        raise ForeignLink(f"a link leads outside the FHIR base at {home.hostname}")
    where = f"{home.scheme}://{home.netloc}{path}"
    return f"{where}?{query}" if query else where


def _decodings(path: str) -> list[str]:
    """Return the path as written and as each server on the way may decode it."""
    forms = [path]
    for _ in range(_DECODINGS_MAX):
        if (plain := unquote(forms[-1])) == forms[-1]:
            return forms
        forms.append(plain)
    raise ForeignLink("a link in an answer is percent-encoded over and over")


def _has_dots(path: str) -> bool:
    return any(part.partition(";")[0] in {".", ".."} for part in path.split("/"))


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port


def _split_base(base: str) -> SplitResult:
    try:
        parts = urlsplit(base)
        _origin(parts)
    except ValueError as error:
        raise SettingsError("the server's base is not a URL: check it") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or _FORBIDDEN.search(base):
        raise SettingsError("a server's base starts with https:// (or http:// on this machine)")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError("a server's base holds no user, no query and no fragment")
    if any(_has_dots(plain) for plain in _decodings(parts.path)):
        raise SettingsError("a server's base holds no dots as path segments")
    return parts


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
