"""The results as one page, and what a change does to them."""

import vae.common.environment  # noqa: F401
