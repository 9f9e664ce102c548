"""The page in a real browser: it shows all it has, asks for nothing, fits a phone, names a cell that is pointed at."""

import html
import json
import re
import subprocess

import pytest

from coatnet.reporting.groups import GROUP_OF
from coatnet.reporting.page import report
from tests.conftest import CHROMIUM

pytestmark = pytest.mark.browser
WIDTHS = (390, 1280)
# Put into the page before all else: tells the page around it what went wrong and how it looks.
WATCH = """<script>
const wrong = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => wrong.push(words.join(" "));
addEventListener("error", (event) => wrong.push(event.message || `not loaded: ${event.target.src}`), true);
addEventListener("securitypolicyviolation", (event) => wrong.push(`blocked: ${event.blockedURI}`));
addEventListener("load", () => {
  const matrix = document.getElementById("matrix");
  const named = () => document.getElementById("named").textContent;
  const box = matrix.getBoundingClientRect();
  const [x, y] = [box.left + (box.width * 7.5) / 200, box.top + (box.height * 3.5) / 200];
  matrix.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
  const pointed = named();
  matrix.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
  const below = named();
  const { left, top } = matrix.getBoundingClientRect();  // the words above it may have moved it
  const beside = { clientX: left + (x - box.left), clientY: top + (y - box.top), pointerType: "touch" };
  matrix.dispatchEvent(new PointerEvent("pointerdown", beside));
  const shown = [...document.images].filter((image) => image.checkVisibility());
  parent.postMessage({
    wrong,
    requests: performance.getEntriesByType("resource").map((one) => one.name).filter((name) => !/^data:/.test(name)),
    sizes: [...document.images].map((image) => image.naturalWidth * image.naturalHeight),
    areas: [...shown, ...document.querySelectorAll("svg")].map((one) => one.getBoundingClientRect())
      .map((area) => area.width * area.height),
    overflow: document.documentElement.scrollWidth - innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    matrices: shown.filter((image) => matrix.contains(image)).length,
    pointed,
    below,
    touched: named(),
  }, "*");
});
</script>"""
FRAMES = """<!DOCTYPE html>{frames}<pre id="found"></pre><script>
const all = {{}};
addEventListener("message", (event) => {{
  const frame = [...document.querySelectorAll("iframe")].find((one) => one.contentWindow === event.source);
  all[frame.width] = event.data;
  if (Object.keys(all).length === {number}) document.getElementById("found").textContent = JSON.stringify(all);
}});
</script>"""


@pytest.fixture(scope="module")
def run(make_run):
    return make_run([(wnid, f"class <{wnid}>") for wnid in GROUP_OF], model__variant="paper")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(run, scheme, tmp_path):
    figures, page = report(run)
    (tmp_path / "page.html").write_text(page.replace("<head>", f"<head>{WATCH}", 1), encoding="utf-8")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="900"></iframe>' for width in WIDTHS)
    (tmp_path / "frames.html").write_text(FRAMES.format(frames=frames, number=len(WIDTHS)), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    done = subprocess.run([CHROMIUM, *options, (tmp_path / "frames.html").as_uri()], capture_output=True, timeout=120)
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    found = json.loads(html.unescape(said[1]))
    names = list(figures["confusion"].numbers.actual)
    for width in WIDTHS:
        seen = found[str(width)]
        assert seen["wrong"] == [] and seen["requests"] == []
        assert len(seen["sizes"]) > 100 and min(seen["sizes"]) > 0 and min(seen["areas"]) > 100
        assert seen["overflow"] <= 0
        assert seen["background"] == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
        assert seen["matrices"] == 1
        assert seen["pointed"].startswith(f"{names[3]} taken for {names[7]}: ")
        assert int(re.search(r": (\d+) of", seen["touched"])[1]) > 0  # the fullest cell around an empty one
        assert seen["below"].startswith(f"{names[4]} taken for {names[7]}: ")
