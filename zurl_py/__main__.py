"""``python -m zurl_py``: the same as ``zurl-py``."""

from .cli import main

main(prog_name="zurl-py")
