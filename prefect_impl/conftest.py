"""Keeps what Prefect writes during the tests out of the user's home."""

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="prefect-test-")  # removed when Python ends
os.environ["PREFECT_HOME"] = _home.name  # read when Prefect is imported
