"""The pipeline: its four stages. Python runs this file before any of them."""

import vae.common.code
import vae.common.environment  # noqa: F401
