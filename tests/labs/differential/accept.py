"""Writes expected.txt: python -m tests.labs.differential.accept [PATTERN...]."""

import fnmatch
import sys

from tests.labs.differential import load
from tests.labs.differential.differences import of_exchange, read_expected, write_expected
from tests.labs.differential.lab import EXCHANGES, OURS, Lab
from tests.support import CertificateAuthority


def main() -> None:
    """Runs what is listed as different with our daemon and keeps what it shows."""
    load()
    patterns = sys.argv[1:] or ["*"]
    authority = CertificateAuthority()
    labs: dict[str, Lab] = {}
    kept = {name: lines for name, lines in read_expected().items() if of_exchange(name)}
    for name, item in EXCHANGES.items():
        if of_exchange(name) and any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            lab = labs.setdefault(item.variant, Lab(OURS, item.variant, authority))
            kept[name] = lab.play(item)
    for lab in labs.values():
        lab.close()
    authority.close()
    write_expected({name: kept[name] for name in kept if name in EXCHANGES})


if __name__ == "__main__":
    main()
