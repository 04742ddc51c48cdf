"""One row of the tables of intended differences."""

import fnmatch
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One intended difference.

    Attributes:
        topic: heading in the documentation.
        zurl: what Debian's zurl 1.11.1 does.
        ours: what zurl_py does.
        why: the reason.
        exchanges: names, or patterns of names, of the exchanges that show it.
    """

    topic: str
    zurl: str
    ours: str
    why: str
    exchanges: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Whether exchange `name` shows this difference."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exchanges)


def difference(topic: str, zurl: str, ours: str, why: str, *exchanges: str) -> Difference:
    """A row of the tables."""
    return Difference(topic, zurl, ours, why, exchanges)
