"""
Check inclusion proofs with sigstore's own code: JSON lines in, one word a line out.

Each line has `leaf`, `root` and `proof` in base64, `index` and `size`; the
answer is `included` or `refused`.
"""

import base64
import json
import sys
from types import SimpleNamespace

from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError

for line in sys.stdin:
    one = json.loads(line)
    proof = SimpleNamespace(
        log_index=one["index"],
        tree_size=one["size"],
        root_hash=base64.b64decode(one["root"]),
        hashes=[base64.b64decode(step) for step in one["proof"]],
    )
    leaf = base64.b64decode(one["leaf"])
    entry = SimpleNamespace(
        _inner=SimpleNamespace(inclusion_proof=proof, canonicalized_body=leaf)
    )
    try:
        verify_merkle_inclusion(entry)
    except VerificationError:
        print("refused")
    else:
        print("included")
