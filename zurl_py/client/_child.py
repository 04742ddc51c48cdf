"""The process of an embedded gateway: ``python -m zurl_py.client._child DIRECTORY``.

It runs the daemon with the configuration in that directory. Its standard input is a pipe to which
the parent never writes. When the parent ends, for whatever reason, the pipe is closed; then the
daemon stops and removes its directory.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import threading

from ..config import KEYS, hint_at_key
from ..ini import parse_ini


def _misspelt(path: str) -> str | None:
    """What is wrong with a key; the daemon itself ignores unknown keys.

    A program's rule that is ignored leaves open what it was to close, and nobody reads the log.
    """
    with open(path, encoding="utf-8") as file:
        for entry in parse_ini(file.read(), lambda _line, _text: None):
            if entry.key not in KEYS:
                return f"policy: unknown key {entry.key!r}{hint_at_key(entry.key, KEYS)}"
    return None


def _stop_with_parent() -> None:
    # PR_SET_PDEATHSIG is not used: it may be sent once for each thread of the parent, and a second
    # signal makes the daemon end without cleaning up.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(directory: str) -> None:
    """Run until a signal, or until the parent ends."""
    threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    config = os.path.join(directory, "zurl.conf")
    misspelt = _misspelt(config)
    if misspelt:
        raise SystemExit(misspelt)
    sys.argv = ["zurl-py", "serve", "--config", config, "--loglevel", "0"]
    try:
        runpy.run_module("zurl_py", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not end.code:  # after an error the parent reads the log
            shutil.rmtree(directory, ignore_errors=True)
        raise


if __name__ == "__main__":
    main(sys.argv[1])
