"""What is handed out of the log to people outside: exports and receipts, each signed first."""

from __future__ import annotations

from pathlib import Path

from fhir_bridge.bridge.opened import Opened
from fhir_bridge.errors import SettingsError
from fhir_bridge.exports.exporting import Order, Prover, export_log
from fhir_bridge.ledger import Checkpoint, Receipt, decode_entry

POLICY = "policy"
"""File in the store's folder: the policy as the offline root key signed it."""


class Handing(Opened):
    """Hands out the log."""

    def export(
        self,
        path: Path,
        *,
        log: str | None = None,
        bodies: bool = True,
        transfer: str | None = None,
    ) -> Checkpoint:
        """
        Export a log, or the entries of one transfer.

        Witnesses are asked first, so that the export ends where they have
        signed. Who exports what is in the log before the first byte is written.

        Args:
            path: A zip file when it ends so, else a folder. Must not exist.
            log: Its name; None for the newest.
            bodies: With what entries commit to.
            transfer: Only the entries of this transfer.

        Raises:
            SettingsError: The path is taken, or there is no such log or transfer.
            StoreUnavailable: Not signed, or not written; nothing was exported.
            AlteredLog: The log is not what was signed; nothing was exported.
        """
        self._witnessing.asked.ask()
        order = Order(
            log=log or self._store.log, bodies=bodies, transfer=transfer, policy=self._policy()
        )

        def announce(checkpoint: Checkpoint) -> None:
            self.office.exported(
                log=order.log, first=0, end=checkpoint.size, bodies=bodies, transfer=transfer
            )

        return export_log(
            self._store, path, order, sign=self._store.sign_manifest, announce=announce
        )

    def receipt(self, transfer: str, act: str) -> Receipt:
        """
        Prove one act of a transfer, opened.

        Args:
            transfer: Its id.
            act: What happened, e.g. ``disclosure.result``: the last of its kind.

        Raises:
            SettingsError: There is no such transfer, or nothing of the kind happened.
            StoreUnavailable: Not signed; nothing was handed out.
        """
        row = self._carrying(transfer)
        mine = [one for one in self._store.entries(row.id) if one.type == act]
        if not mine:
            known = sorted({str(one.type) for one in self._store.entries(row.id)})
            raise SettingsError(f"transfer {transfer} has no {act}; it has {', '.join(known)}")
        return self._handed(mine[-1].log, mine[-1].idx, body=True)

    def receipt_of(self, log: str, idx: int) -> Receipt:
        """
        Prove one entry, opened as far as it was not erased.

        Args:
            log: The log's name.
            idx: The entry's index.

        Raises:
            SettingsError: There is no such entry.
            StoreUnavailable: Not signed; nothing was handed out.
        """
        return self._handed(log, idx, body=True)

    def prove(self, idx: int, *, log: str | None = None) -> Receipt:
        """
        Prove one entry, without what it commits to.

        Args:
            idx: Its index.
            log: The log's name; None for the newest.

        Raises:
            SettingsError: There is no such entry.
            StoreUnavailable: Not signed; nothing was handed out.
        """
        return self._handed(log or self._store.log, idx, body=False)

    def _handed(self, log: str, idx: int, *, body: bool) -> Receipt:
        receipt = Prover.of(self._store, log, idx).receipt(idx, body=body, policy=self._policy())
        urn = decode_entry(receipt.entry).transfer
        self.office.issued(urn and urn.removeprefix("urn:uuid:"), log=log, entry=idx)
        return receipt

    def _policy(self) -> str | None:
        """Return the policy that the root key signed; None where there is none."""
        path = self._settings.store / POLICY
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the policy {path} cannot be read") from error
