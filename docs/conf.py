"""How the documentation is built: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zurl_py import __version__

project = "zurl_py"
author = "The zurl_py authors"
copyright = "the zurl_py authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Links to files that are no pages are shown, and checked by the tests; a generated
# part may begin with a lower heading.
suppress_warnings = ["myst.xref_missing", "myst.header"]
exclude_patterns = ["man"]
html_theme = "furo"
html_title = f"zurl_py {version}"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
nitpicky = False
