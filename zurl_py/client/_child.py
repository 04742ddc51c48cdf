"""What an embedded gateway runs in: ``python -m zurl_py.client._child PARENT DIRECTORY``.

It is the daemon itself, on the configuration in a directory of its own. It ends when its parent
does, however that ends, and takes its directory with it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import shutil
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(parent: int, directory: str) -> None:
    """Run until a signal, or the parent's end."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it had ended before that was asked for
        return
    sys.argv = ["zurl-py", "serve", "--config", os.path.join(directory, "zurl.conf")]
    sys.argv += ["--loglevel", "0"]
    try:
        runpy.run_module("zurl_py", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not end.code:  # else the parent wants to read the log
            shutil.rmtree(directory, ignore_errors=True)
        raise


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
