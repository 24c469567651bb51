"""What C libraries print is told in one line, and nothing of Python's own is lost."""

import os
import subprocess
import sys

from resnetlab.system.remarks import remarks_collected


def test_remarks_are_told_once_with_their_number(capfd):
    with remarks_collected("decoders"):
        for _ in range(3):
            os.write(2, b"libpng warning: iCCP: too short\n")
        os.write(2, b"\nTIFFReadDirectory: odd\n")

    said = capfd.readouterr().err
    assert said.count("iCCP") == 1
    assert "decoders remarked 'libpng warning: iCCP: too short' (3 times)" in said
    assert "'TIFFReadDirectory: odd' (1 times)" in said


def test_without_remarks_nothing_is_said(capfd):
    with remarks_collected("decoders"):
        pass

    assert capfd.readouterr().err == ""


def test_pythons_own_messages_come_at_once_and_after_an_error_all_is_as_before():
    program = """
import os, sys
from resnetlab.system.remarks import remarks_collected
try:
    with remarks_collected("decoders"):
        print("progress", file=sys.stderr)
        os.write(2, b"odd file\\n")
        with remarks_collected("inner"):
            os.write(2, b"odd file\\n")
        raise ValueError
except ValueError:
    print("after", file=sys.stderr)
os.write(2, b"as before\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "progress",
        "note: decoders remarked 'odd file' (2 times)",
        "after",
        "as before",
    ]


def test_a_closed_descriptor_is_no_obstacle():
    program = """
import os
from resnetlab.system.remarks import remarks_collected
os.close(2)
with remarks_collected("decoders"):
    print("fine")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout == "fine\n"
