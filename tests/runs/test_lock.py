from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from l2rw_tf.errors import UsageError
from l2rw_tf.runs import lock

ROOT = Path(__file__).parents[2]
HOLD = """
import pathlib, sys, time
from l2rw_tf.runs import lock
with lock.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_directory_is_held_until_its_holder_ends_however_it_does(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"{tmp_path} is in use"), lock.hold(tmp_path):
            pass
        holder.kill()
    with lock.hold(tmp_path), pytest.raises(UsageError), lock.hold(tmp_path):
        pass
    with lock.hold(tmp_path):
        pass
