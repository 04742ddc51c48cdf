"""What an embedded gateway runs in: ``python -m zurl_py.client._child DIRECTORY``.

It is the daemon itself, on the configuration in a directory of its own. Its standard input is a
pipe that its parent never writes to. However the parent ends, the pipe ends with it; then the
daemon stops and takes its directory with it.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import threading


def _stop_with_parent() -> None:
    # Not PR_SET_PDEATHSIG: a parent with several threads sends that once for each, and a second
    # signal has the daemon end without cleaning up.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(directory: str) -> None:
    """Run until a signal, or the parent's end."""
    threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    sys.argv = ["zurl-py", "serve", "--config", os.path.join(directory, "zurl.conf")]
    sys.argv += ["--loglevel", "0"]
    try:
        runpy.run_module("zurl_py", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not end.code:  # else the parent wants to read the log
            shutil.rmtree(directory, ignore_errors=True)
        raise


if __name__ == "__main__":
    main(sys.argv[1])
