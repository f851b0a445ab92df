"""The page as one text: everything that it shows and runs is inside."""

from pathlib import Path

import plotly.offline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(**content: object) -> str:
    """page.html with `content`, all of it escaped. Styles and scripts go in as they are."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    own = {name: Markup((HERE / name).read_text(encoding="utf-8")) for name in
           ("page.css", "decoder.js", "explorer.js", "charts.js")}  # fmt: skip
    own["plotly.js"] = Markup(plotly.offline.get_plotlyjs())
    return environment.get_template("page.html").render(inline=own, **content)


def number(value: float, digits: int = 2) -> str:
    """With a minus sign that is one, and thousands apart."""
    return f"{value:,.{digits}f}".replace("-", "−")
