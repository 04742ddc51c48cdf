"""Entry points of the commands that ``pip`` installs, isolated from ``PYTHONPATH``.

``PYTHONPATH``, set for another program, could replace modules that this one needs. The Debian
package starts Python with ``-I``; a command installed by ``pip`` cannot, so ``sys.path`` is cleaned
here, before anything but the standard library is imported.
"""

from __future__ import annotations

import os
import sys

__all__ = ["zurl", "zurl_py"]


def zurl() -> None:
    """The command ``zurl``."""
    _isolate()
    from .cli.zurl import main

    main()


def zurl_py() -> None:
    """The command ``zurl-py``."""
    _isolate()
    from .cli import main

    main()


def _isolate() -> None:
    """Remove the entries of ``PYTHONPATH`` and of the command's own folder from ``sys.path``."""
    if sys.flags.isolated:
        return
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    foreign = {
        os.path.abspath(entry)
        for entry in (
            *os.environ.get("PYTHONPATH", "").split(os.pathsep),
            os.path.dirname(sys.argv[0]),
        )
        if entry
    } | {""}
    foreign -= {home}
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) not in foreign]
