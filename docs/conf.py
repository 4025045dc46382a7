"""How the documentation is built: `sphinx-build -W -b html docs OUT`, offline, warnings as errors.

Every example is executed, each page in a fresh process, in the sandbox with the bundled catalogue.
An example that raises an error fails the build; so does one that writes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import NumpyDocstring

# The examples run in the sandbox: no live service, no credentials, no progress bars.
for name in list(os.environ):
    if name.startswith(("CODE_OCEAN_", "AIND_SESSION_", "AWS_")):
        del os.environ[name]
os.environ["AIND_SESSION_SANDBOX"] = "1"
os.environ["AIND_SESSION_PROGRESS"] = "0"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
# Python 3.11 can hang in Dask's profiler: see docs/dask.md.
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
# The width of the theme's text column.
os.environ["COLUMNS"] = "92"
os.environ["TERM"] = "dumb"
# No IPython settings of the user, and no messages of kernels about their connections.
_ipython = tempfile.TemporaryDirectory()
os.environ["IPYTHONDIR"] = _ipython.name
_profile = Path(_ipython.name, "profile_default")
_profile.mkdir()
(_profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
# The `aind-session` of this environment, whether or not it is activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

project = "aind-session"
author = copyright = "Allen Institute for Neural Dynamics"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "jupyter_execute"]

# -- pages -----------------------------------------------------------------------------------------

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_output_stderr = "warn"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

# -- the API reference -----------------------------------------------------------------------------

# In docstrings a single backtick is code.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autosummary_generate = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
# Attributes described in a class's docstring are resolved by their name alone, and two classes
# have a `docdb`.
suppress_warnings = ["ref.python"]

_NUMPY = Config(napoleon_google_docstring=False, napoleon_use_rtype=False, napoleon_use_ivar=True)


def _read_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: Any) -> None:
    # Not with napoleon itself: it takes the text before a colon in the first line of an attribute's
    # docstring for a type.
    kind = "method" if what in ("property", "attribute", "data") else what
    lines[:] = NumpyDocstring(lines, _NUMPY, app, kind, name, obj, options).lines()


def setup(app: Any) -> None:
    """Register the reader of NumPy-style docstrings, and the screenshots."""
    app.connect("autodoc-process-docstring", _read_docstring)
    if os.environ.get("DOCS_SCREENSHOTS") != "0":
        app.connect("build-finished", _take_screenshots)


def _take_screenshots(app: Any, exception: Exception | None) -> None:
    """Take screenshots of the notebook views if a browser is installed."""
    if exception is None:
        script = Path(__file__).with_name("screenshots.py")
        # The pages do not need them: the script reports a browser that fails, without an error.
        subprocess.run([sys.executable, str(script), str(Path(app.outdir, "_screenshots"))])


# -- how it looks ----------------------------------------------------------------------------------

html_theme = "furo"
html_title = "aind-session"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_exclude = ".linenos, .gp, .go"
