"""The page in a real browser: typed, dropped, downloaded, with the keyboard only, at two sizes."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import served

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra dev, drives the browser")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SIZES = {"desktop": {"width": 1040, "height": 900}, "phone": {"width": 360, "height": 740}}
HOSTILE = "<img src=x onerror=document.title='bad'> so good"
DROP = """(csv) => {
  const given = new DataTransfer();
  given.items.add(new File([csv], "mine.csv", { type: "text/csv" }));
  for (const kind of ["dragover", "drop"]) {
    document.getElementById("form").dispatchEvent(
      new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true }));
  }
}"""

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (element) => {  // all backgrounds from the root to the element, one over the other
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e).backgroundColor);
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of chain) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const colour = (text) => { canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  let count = 0, least = 99, where = "";
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || element.tagName === "SCRIPT" || !element.offsetParent) continue;
    const [a, b] = [luminance(over(element)), luminance(colour(getComputedStyle(element).color))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    count += 1;
    if (ratio < least) { least = ratio; where = `${element.className} ${element.textContent}`; }
  }
  return { count, least, where };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as found:
        started = found.chromium.launch(executable_path=CHROMIUM, args=FLAGS)  # with an empty profile of its own
        yield started
        started.close()


@pytest.fixture(scope="module")
def url(ensemble: Path) -> Iterator[str]:
    with served("-m", "mmsa_lightning.cli", "serve", str(ensemble), "--port", "0") as (_, found):
        yield found


@pytest.fixture(params=SIZES)
def page(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page; at the end nothing has gone wrong in it, asked another place, or been wider than the screen."""
    context = browser.new_context(viewport=SIZES[request.param])
    found = context.new_page()
    wrong: list[str] = []
    found.on("console", lambda message: wrong.append(message.text) if "status of 422" not in message.text else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    found.goto(url)
    found.get_by_label("Utterances, one a line").wait_for()
    yield found
    assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
    assert wrong == []


def test_typed_utterances_are_shown(page: Any) -> None:
    page.get_by_label("Utterances, one a line").fill(f"so good and fine work\n\n{HOSTILE}\nÇa va bien, naïve café?")
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("3 utterances predicted").wait_for()
    cards = page.locator("#list > li")
    assert cards.count() == 3
    first = cards.first
    assert re.fullmatch(r"[+−]?\d\.\d\d", first.locator(".value strong").inner_text())
    assert first.locator(".text").inner_text() == "so good and fine work"
    assert first.locator(".word").all_inner_texts() == ["so", "good", "and", "fine", "work"]
    shares = [
        float(s)
        for s in first.locator(".word").evaluate_all("(w) => w.map((e) => e.style.getPropertyValue('--share'))")
    ]
    assert max(shares) == 1 and min(shares) > 0
    shades = first.locator(".word").evaluate_all("(w) => w.map((e) => getComputedStyle(e).backgroundColor)")
    assert all(shade not in ("", "rgba(0, 0, 0, 0)") for shade in shades)  # the policy lets its own styles through
    assert "members from" in first.get_by_role("img").get_attribute("aria-label")
    assert first.locator(".member").count() == 2
    added = first.locator("dl").inner_text().split("\n")
    assert added[:2] == ["What each modality adds", "text"] and added[-1] == "not given"
    notes = page.get_by_role("list", name="Notes").inner_text()
    assert "3 of 3 utterances have no audio" in notes and "3 of 3 utterances have no vision" in notes
    assert cards.nth(1).locator(".text").inner_text() == HOSTILE
    assert page.title() == "Sentiment of utterances" and page.locator("#list img").count() == 0


def test_a_table_is_dropped_and_the_results_downloaded(page: Any, tmp_path: Path) -> None:
    rows = [{"id": f"-a$_${i}", "text": f'so "good", work {i}\nand more'} for i in range(40)]  # more than a request
    given = "\ufeffid;text;label\r\n" + "".join(
        '{};"{}";1\r\n'.format(row["id"], row["text"].replace('"', '""')) for row in rows
    )
    page.evaluate(DROP, given)
    page.get_by_text("mine.csv: 40 utterances predicted").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as CSV").click()
    waiting.value.save_as(tmp_path / "got.csv")
    with (tmp_path / "got.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [{"id": row["id"], "text": row["text"]} for row in found] == rows
    answer = page.request.post(
        f"{page.url}v1/predict",
        data={"utterances": [{"text": row["text"]} for row in rows], "contributions": True},
    ).json()["predictions"]
    for row, expected in zip(found, answer, strict=True):
        assert float(row["sentiment"]) == pytest.approx(expected["sentiment"], abs=1e-5)
        assert float(row["contribution_text"]) == pytest.approx(expected["contributions"]["text"], abs=1e-5)
        assert [float(row[f"member_{k}"]) for k in (1, 2)] == pytest.approx(expected["members"], abs=1e-5)
        assert (row["in_words"], row["contribution_audio"]) == (expected["in_words"], "")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("id,words\n1,a\n", "mine.csv: it has no column text"),
        ("id,text\n1,a,b\n", "mine.csv: row 1 has 3 cells, but the header has 2"),
        ('id,text\n1,"a\n', "mine.csv: a quotation mark is never closed"),
        ("id,text\n", "mine.csv: it has no rows"),
        ("id,text\n1,a\nx,\n", "mine.csv: utterance 2 (x) has none of text"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(page: Any, table: str, said: str) -> None:
    page.evaluate(DROP, table)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith(said)
    assert page.locator("#results").is_hidden()


def test_with_the_keyboard_only(page: Any) -> None:
    seen: list[str] = []
    for _ in range(3):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        outline = "(e => getComputedStyle(e.type === 'file' ? e.nextElementSibling : e).outlineStyle)"
        assert page.evaluate(f"{outline}(document.activeElement)") == "solid"
    assert seen == ["texts", "Predict", "file"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Type or paste an utterance first."
    assert page.evaluate("document.activeElement.id") == "texts"
    page.keyboard.type("so good")
    page.keyboard.press("Control+Enter")
    page.get_by_text("1 utterance predicted").wait_for()
    assert page.locator("#error").is_hidden()
    for _ in range(3):
        page.keyboard.press("Tab")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "sentiment.csv"


def test_colours_have_contrast(browser: Any, url: str) -> None:
    """WCAG AA, 4.5 to 1, of every text with what lies behind it, in both schemes."""
    for scheme in ("light", "dark"):
        page = browser.new_context(color_scheme=scheme, viewport=SIZES["desktop"]).new_page()
        page.goto(url)
        page.get_by_label("Utterances, one a line").fill("so good and fine work\na dreadful plot")
        page.keyboard.press("Control+Enter")
        page.get_by_text("2 utterances predicted").wait_for()
        low = page.evaluate(CONTRASTS)
        assert low["count"] > 20 and low["least"] >= 4.5, (scheme, low)
