"""Cosign the checkpoints of peers: the bridges that send records here."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence

from fhir_bridge.clock import Clock
from fhir_bridge.errors import MalformedCheckpoint
from fhir_bridge.ledger import Checkpoint, Cosigner, Event, NewEntry, VerifierKey, WitnessKey
from fhir_bridge.store import Store
from fhir_bridge.witness import NotCosigned, Submission, judge, read

_ACTOR = "svc:witness"
_YEAR = re.compile(r"/audit/[0-9]{4}\Z")


class BeingWitness:
    """This bridge as a witness."""

    def __init__(
        self, store: Store, clock: Clock, cosigner: Cosigner, peers: Iterable[VerifierKey]
    ) -> None:
        """
        Know whose checkpoints to cosign.

        Args:
            store: Remembers what was cosigned last.
            clock: Dates each cosignature.
            cosigner: Our key.
            peers: The keys of their logs; the name of a key is the log's, of
                whichever year.
        """
        self._store = store
        self._clock = clock
        self._cosigner = cosigner
        self._peers = tuple(peers)

    @property
    def verifier(self) -> WitnessKey:
        """Return the public key that our cosignatures verify with."""
        return self._cosigner.verifier

    def add_checkpoint(self, body: bytes) -> str:
        """
        Return our signature line under a peer's checkpoint, anchored in our own log.

        Args:
            body: Of an ``add-checkpoint`` request. Untrusted.

        Raises:
            NotCosigned: With the status that the specification names.
            StoreUnavailable: It could not be remembered, so it is not cosigned.

        Source:
            https://c2sp.org/tlog-witness, "add-checkpoint".
        """
        try:
            submission = Submission.parse(body)
        except MalformedCheckpoint as error:
            raise NotCosigned(str(error), status=400) from error
        checkpoint = read(submission, self._keys)

        def continues(last: Checkpoint | None) -> None:
            judge(submission, checkpoint, last)

        self._store.advance_peer(submission.note, checkpoint, continues)
        self._anchor(submission.note, checkpoint)
        return self._cosigner.cosign(str(checkpoint), int(self._clock.now().timestamp()))

    def _keys(self, log: str) -> Sequence[VerifierKey]:
        """Return a peer's keys under the name of one of its logs: each year has its own."""
        public = {key.public for key in self._peers if _lasting(key.name) == _lasting(log)}
        return [VerifierKey(log, key) for key in sorted(public)]

    def _anchor(self, note: str, checkpoint: Checkpoint) -> None:
        """Write the peer's checkpoint into our log: from now on two logs hold it."""
        seen = hashlib.sha256(str(checkpoint).encode()).hexdigest()
        self._store.append(
            NewEntry(type=Event.WITNESS_COSIGNED, actor=_ACTOR, checkpoint=note),
            event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{checkpoint.origin}/{seen}")),
        )


def _lasting(log: str) -> str:
    """Return what the logs of all years have in common."""
    return _YEAR.sub("", log)
