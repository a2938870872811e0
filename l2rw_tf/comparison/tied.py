"""`python -m l2rw_tf.comparison.tied MODULE [ARGUMENT ...]`: runs a module while stdin is open.

A comparison keeps the other end of its runs' standard input. However it ends, killed included, the
system closes that end, and the runs stop as they do at a signal: saved, and to be resumed.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _stop_with_standard_input() -> None:
    # Not through sys.stdin, whose buffer Python wants to lock when it ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_standard_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
