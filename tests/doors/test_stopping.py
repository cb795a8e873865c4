"""How a command that runs until it is told is told."""

from __future__ import annotations

import subprocess
import sys

_TOLD = """
import signal, threading
from fhir_bridge.doors.stopping import Stopping

def tell():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Event().wait()

stopping = Stopping()
stopping.listen()
threading.Timer(0.3, tell).start()
stopping.wait()
print("told", flush=True)
signal.raise_signal(signal.SIGKILL)
"""


def test_a_signal_that_another_thread_gets_stops_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _TOLD], capture_output=True, text=True, check=False, timeout=30
    )

    assert ended.stdout == "told\n", ended.stderr
