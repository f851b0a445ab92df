"""The pipeline: its four stages. Python runs this file before any of them."""

import pipeline.begin  # noqa: F401
