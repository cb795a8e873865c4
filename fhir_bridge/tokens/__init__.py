"""
What the bridge shows a server to be let in, and how it comes by it.

A secret, a token or a private key never appears in a representation, a log or
an error. A credential is opened for one server and handed to the one `Wire`
that speaks to it, which never leaves its base; a token that a server gives is
kept in memory only. What asks for a token goes to the server's own origin, or
to the address that the operator wrote down, and nowhere else.
"""

from fhir_bridge.tokens.certificate import ClientCertificate
from fhir_bridge.tokens.keys import SigningKey, new_key, public_jwks
from fhir_bridge.tokens.opening import open_credential
from fhir_bridge.tokens.plain import Basic, Bearer
from fhir_bridge.tokens.scopes import missing
from fhir_bridge.wire import Credential, NoCredential

__all__ = [
    "Basic",
    "Bearer",
    "ClientCertificate",
    "Credential",
    "NoCredential",
    "SigningKey",
    "missing",
    "new_key",
    "open_credential",
    "public_jwks",
]
