"""The page in a real browser, on a desktop's and a phone's screen."""

import shutil

import pytest

import yolokkn
from tests.runtime.clips import write_clip
from yolokkn.runtime.streams import StreamResult
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.web import Monitor, WebServer
from yolokkn.zones import Zone, ZoneMap, read_zones

pytest.importorskip("fastapi", reason="the extra web is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; tests/web/install.sh brings it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; tests/web/install.sh brings it")


@pytest.fixture(scope="module")
def page_url(tmp_path_factory):
    """Two streams of a clip, over and over, with a zone."""
    folder = tmp_path_factory.mktemp("page")
    clip = str(write_clip(folder / "a.mp4", 25, (240, 320)))
    watches = {"door": ZoneWatch(ZoneMap(zones={"yard": Zone(((10, 10), (300, 10), (300, 200)))}))}
    streams = yolokkn.track_streams({"door": clip, "back-yard": clip}, say=None)
    monitor = Monitor(streams, watches, model="person-vehicle.onnx")
    newest = {}
    for one in streams:
        monitor.took(one)
        newest[one.stream] = one
    with WebServer(monitor, port=0) as server:
        yield server.url, monitor, newest
    streams.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 850), (390, 844)])
def test_views_health_and_drawing(page_url, browser, width, height, tmp_path):
    url, monitor, newest = page_url
    page, troubles = browser.new_page(viewport={"width": width, "height": height}), []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(url)
    playwright.expect(page.locator(".card img[src^=blob]")).to_have_count(2)
    assert page.locator(".card .badge").all_inner_texts() == ["ended", "ended"]
    paints = page.evaluate("performance.getEntriesByType('paint').map(entry => entry.startTime)")
    assert paints and page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out
    page.screenshot(path=str(tmp_path / "overview.png"))

    page.click("text=door")
    page.wait_for_selector("#large[src^=blob]")
    page.wait_for_selector(".stagebar")
    before = page.get_attribute("#large", "src")
    monitor.took(StreamResult("door", *newest["door"][1:]))
    playwright.expect(page.locator("#large")).not_to_have_attribute("src", before)
    facts = page.inner_text("#health")
    assert "ended" in facts and "320 x 240" in facts and "yard" in page.inner_text("#zones")
    assert page.locator(".stagebar").count() >= 5

    page.click("#draw-zone")
    box = page.locator("#sketch").bounding_box()
    for x, y in ((0.25, 0.25), (0.75, 0.25), (0.5, 0.75)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.click("#draw-done")
    page.click("#draw-line")
    for x in (0.1, 0.9):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
    text = page.inner_text("#yaml")
    (tmp_path / "zones.yaml").write_text(text)
    drawn = read_zones(tmp_path / "zones.yaml")
    assert drawn.size == (320, 240)
    for found, wanted in zip(drawn.zones["zone1"].points, [(80, 60), (240, 60), (160, 180)], strict=True):
        assert abs(found[0] - wanted[0]) <= 2 and abs(found[1] - wanted[1]) <= 2
    assert len(drawn.lines["line1"].points) == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=str(tmp_path / "detail.png"))
    page.click("text=all streams")
    page.wait_for_selector(".card")
    assert troubles == []
    page.close()
