"""The page as one text, which contains everything that it shows and runs."""

from pathlib import Path

import plotly.offline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(**content: object) -> str:
    """Fills page.html with `content`, escaped. Styles and scripts go in unchanged."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    own = {name: Markup((HERE / name).read_text(encoding="utf-8")) for name in
           ("page.css", "decoder.js", "likelihoods.js", "explorer.js", "charts.js")}  # fmt: skip
    own["plotly.js"] = Markup(plotly.offline.get_plotlyjs())
    return environment.get_template("page.html").render(inline=own, **content)


def number(value: float, digits: int = 2) -> str:
    """A number with a real minus sign and separated thousands."""
    return f"{value:,.{digits}f}".replace("-", "−")
