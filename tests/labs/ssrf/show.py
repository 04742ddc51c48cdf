"""Prints what daemons do with attempts: python -m tests.labs.ssrf.show ours,zurl [PATTERN...]."""

import sys

from tests.labs.ssrf.play import play


def main() -> None:
    """Plays and prints."""
    kinds, *patterns = sys.argv[1:]
    for kind in kinds.split(","):
        results = play(kind, *patterns)
        for name, result in results.items():
            mark = "skip" if result.skipped else "held" if result.held else "OPEN"
            print(f"{kind} {mark} {name}: {', '.join(result.answers)} {result.skipped}")
            for arrival in result.arrivals:
                if arrival.is_breach:
                    print(f"      {arrival.kind} {arrival.address}:{arrival.port}")
        held = sum(result.held for result in results.values() if not result.skipped)
        print(f"{kind}: {held} of {sum(not r.skipped for r in results.values())} held")


if __name__ == "__main__":
    main()
