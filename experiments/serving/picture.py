"""The picture of the page that ``mmsa serve`` shows, of a package of finished runs.

python experiments/serving/picture.py build/pictures/served docs/images/serve.png
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from mmsa_lightning.inference.export import package

TEXTS = """I have to say the cast was terrific, and I loved every minute of it.
The plot was dreadful and the ending felt terribly boring.
Well, it was an okay movie, nothing more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="a folder with finished runs that differ in their seed alone")
    parser.add_argument("out", type=Path, help="the PNG")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of a Chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "package"
        package(sorted(path.parent for path in arguments.runs.rglob("result.json")), made)
        command = [sys.executable, "-m", "mmsa_lightning.cli", "serve", str(made), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                take(server.stdout.readline().split()[-1], arguments.out, arguments.browser)
            finally:
                server.terminate()


def take(url: str, out: Path, browser: str) -> None:
    """Type the texts, predict, and write what the page shows then."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = started.new_context(viewport={"width": 920, "height": 600}, color_scheme="light").new_page()
        page.goto(url)
        page.fill("#texts", TEXTS)
        page.click("text=Predict")
        page.wait_for_selector("#results:not([hidden])")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=out, full_page=True)
        started.close()


if __name__ == "__main__":
    main()
