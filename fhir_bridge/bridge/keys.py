"""The log's keys, and the policy in which an offline root key says which they are."""

from __future__ import annotations

from pathlib import Path

from fhir_bridge.bridge.handing import POLICY
from fhir_bridge.bridge.opened import Opened
from fhir_bridge.errors import SettingsError, Tampered
from fhir_bridge.ledger import Epoch, Group, Policy, Signer, VerifierKey, WitnessKey
from fhir_bridge.ledger.policy import NO_QUORUM

_QUORUM = "quorum"


class Keys(Opened):
    """Shows the log's keys, changes them, and has them vouched for."""

    def key_epochs(self) -> tuple[Epoch, ...]:
        """
        Return the keys of all logs with their sizes, oldest first.

        Raises:
            AlteredLog: The entries are not what was signed.
        """
        return self._store.epochs()

    def rotate_key(self) -> VerifierKey:
        """
        Have another key sign the log from here on; the one that did is destroyed.

        Raises:
            SettingsError: This log's key cannot be changed yet.
            StoreUnavailable: The disk failed.
            AlteredLog: The log is not the one this key signed last.
        """
        told = self.office.key_changed()
        return self._store.rotate_key(actor=self._actor, audit_event=told, trace=self._trace)

    def sign_policy(self, root: Signer) -> Path:
        """
        Write the policy that auditors judge the log by: its keys, its witnesses.

        Args:
            root: The offline root key.

        Returns:
            The file; each export takes it along.

        Raises:
            SettingsError: Another root key signed the one that is there, or a
                witness's key in the settings is none.
            StoreUnavailable: It could not be written.
            AlteredLog: The log does not verify: nothing is vouched for.
        """
        self._store.verify()
        path = self._settings.store / POLICY
        if path.exists():
            try:
                root.verifier.open(path.read_text(encoding="utf-8"))
            except (Tampered, UnicodeDecodeError) as error:
                raise SettingsError(
                    f"{path} is not signed by this root key: move it away first, and tell the"
                    " auditors"
                ) from error
        self._store.write_file(POLICY, self._policy_of(root).encode())
        return path

    def _policy_of(self, root: Signer) -> str:
        said = self._settings.witnessing
        witnesses = {
            f"w{number}": WitnessKey.parse(one.vkey)
            for number, one in enumerate(said.asked, start=1)
        }
        groups = {}
        if said.quorum:
            groups[_QUORUM] = Group(threshold=said.quorum, members=tuple(witnesses))
        return Policy(
            epochs=self._store.epochs(),
            witnesses=witnesses,
            groups=groups,
            quorum=_QUORUM if groups else NO_QUORUM,
        ).signed(root)
