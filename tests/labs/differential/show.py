"""Shows transcripts: python -m tests.labs.differential.show KIND[,KIND] [PATTERN...]."""

import fnmatch
import sys
import time

from tests.labs.differential import load
from tests.labs.differential.lab import EXCHANGES, Lab
from tests.support import CertificateAuthority


def main() -> None:
    """Runs the exchanges that match and prints what they show."""
    load()
    kinds = sys.argv[1].split(",")
    patterns = sys.argv[2:] or ["*"]
    authority = CertificateAuthority()
    labs: dict[tuple[str, str], Lab] = {}
    for name, item in EXCHANGES.items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        shown: list[list[str]] = []
        for kind in kinds:
            lab = labs.setdefault((kind, item.variant), Lab(kind, item.variant, authority))
            start = time.monotonic()
            try:
                lines = lab.play(item)
            except Exception as error:
                lines = [f"FAILED {type(error).__name__} {error}"]
            if shown and lines == shown[0]:
                print(f"   = {kind}")
                continue
            shown.append(lines)
            print(f"== {name} [{kind}] {time.monotonic() - start:.2f} s", *lines, sep="\n   ")
    for lab in labs.values():
        lab.close()
    authority.close()


if __name__ == "__main__":
    main()
