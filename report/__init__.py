"""The results as one page, and what a change does to them."""

import pipeline.begin  # noqa: F401
