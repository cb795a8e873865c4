"""Ask a witness to cosign a checkpoint of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fhir_bridge.errors import AlteredLog, SettingsError, Tampered, Unreachable
from fhir_bridge.ledger import Checkpoint, Note, WitnessKey
from fhir_bridge.wire import ONCE, Wire
from fhir_bridge.witness.exchange import Submission

_ANSWER_BYTES_MAX = 64 * 1024
_READ_SECONDS = 10.0
_OK, _CONFLICT, _OTHER_HISTORY = 200, 409, 422
_NOT_OURS = {400, 403, 404}
_ATTEMPTS = 3

Proof = Callable[[int, int], Sequence[bytes]]
"""Gives the consistency proof from one size of the log to another."""


class Witness:
    """One witness."""

    def __init__(self, wire: Wire, key: WitnessKey) -> None:
        """
        Know where it is and what its signatures must verify with.

        Args:
            wire: Its submission prefix is the base.
            key: From outside, never from its answers.
        """
        self._wire = wire
        self.key = key

    @property
    def name(self) -> str:
        """Return its name."""
        return self.key.name

    def cosign(self, note: str, *, last: int, proof: Proof) -> str:
        """
        Return this witness's signature line under a checkpoint.

        Args:
            note: The checkpoint, signed by the log.
            last: Size that it is thought to have cosigned last; 0 when nothing
                is known. It says itself when that is another.
            proof: Of this log.

        Raises:
            Unreachable: It did not answer, or not as a witness does: ask later.
            SettingsError: It does not know the log or its key.
            AlteredLog: It has seen more entries than there are, or another
                history: the log was set back or written anew.
        """
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        for _ in range(_ATTEMPTS):
            submission = Submission(
                old=last, proof=tuple(proof(last, checkpoint.size) if last else ()), note=note
            )
            status, text = self._submit(submission)
            if status == _OK:
                return self._verified(note, text)
            if status != _CONFLICT:
                raise self._refused(status)
            last = self._known_size(text)
            if last > checkpoint.size:
                raise AlteredLog(
                    f"the witness {self.name} has seen {last} entries of the log, and it has"
                    f" {checkpoint.size}: it was set back"
                )
        raise Unreachable(f"the witness {self.name} names another size each time: ask it later")

    def _submit(self, submission: Submission) -> tuple[int, str]:
        answer = self._wire.exchange(
            "POST",
            "add-checkpoint",
            body=str(submission).encode(),
            content_type="text/plain; charset=utf-8",
            accept="*/*",
            read_seconds=_READ_SECONDS,
            bytes_max=_ANSWER_BYTES_MAX,
            retry=ONCE,
        )
        return answer.status, answer.body.decode("utf-8", "replace")

    def _known_size(self, text: str) -> int:
        size = text.removesuffix("\n")
        if not (size.isascii() and size.isdigit()) or str(int(size[:20])) != size:
            raise Unreachable(f"the witness {self.name} does not say what it cosigned last")
        return int(size)

    def _verified(self, note: str, lines: str) -> str:
        """Return its own lines, when they are right; there may be lines of other keys too."""
        mark = f"\N{EM DASH} {self.name} "
        mine = "".join(line for line in lines.splitlines(keepends=True) if line.startswith(mark))
        try:
            if self.key.cosigned(Note.parse(note + mine)) is not None:
                return mine
        except Tampered as error:
            raise Unreachable(
                f"the witness {self.name} answered with a signature that is wrong: check its key"
                " in the settings"
            ) from error
        raise Unreachable(f"the witness {self.name} answered without its signature: ask it later")

    def _refused(self, status: int) -> Exception:
        if status == _OTHER_HISTORY:
            return AlteredLog(
                f"the witness {self.name} has seen another history of the log: it was written anew,"
                " or its witness was; compare it with an export made earlier"
            )
        if status in _NOT_OURS:
            return SettingsError(
                f"the witness {self.name} answers {status}: it does not know this log or its key;"
                " give its operator what audit keys show prints"
            )
        return Unreachable(f"the witness {self.name} answers {status}: ask it later")
