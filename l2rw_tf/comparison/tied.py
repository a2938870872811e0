"""`python -m l2rw_tf.comparison.tied MODULE [ARGUMENT ...]`: runs a module while stdin is open.

The comparison holds the writing end of its runs' standard input. When the comparison ends, even if
it is killed, the system closes that end, and the runs save and stop as they do after SIGTERM.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _stop_with_standard_input() -> None:
    # Not sys.stdin: Python locks its buffer at exit.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_standard_input, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
