"""The README's picture: `python -m benchmarks.picture`, after `make report`, in seconds.

Draws docs/picture.png: new digits of the model in models/, beside the latent space as report.html
shows it. Needs a browser: pip install -e '.[test]', and Chromium.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

BROWSERS = "chromium", "chromium-browser", "google-chrome"
HEIGHT, MARGIN = 560, 24  # pixels


def browser_path() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def explorer() -> Image.Image:
    path = browser_path()
    if path is None:
        raise SystemExit(f"no browser here: none of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(Path("report.html").absolute().as_uri())
        page.wait_for_timeout(3000)  # for the map of digits behind the square
        picture = page.locator(".explorer").screenshot()
        browser.close()
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main() -> None:
    parts = [Image.open("plots/samples.png").convert("RGB"), explorer()]
    parts = [its.resize((its.width * HEIGHT // its.height, HEIGHT)) for its in parts]
    width = sum(its.width for its in parts) + MARGIN
    picture = Image.new("RGB", (width, HEIGHT), "white")
    picture.paste(parts[0], (0, 0))
    picture.paste(parts[1], (parts[0].width + MARGIN, 0))
    picture.save("docs/picture.png", optimize=True)


if __name__ == "__main__":
    main()
