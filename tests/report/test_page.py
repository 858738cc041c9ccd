# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of report.yml in a real browser, at 20 hosts of 50 VMs with 3 disks each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.reports import report
from ansible_collections.directdisk.qemu.tests.report.browser import Browser, start, write
from ansible_collections.directdisk.qemu.tests.report.fleet import AWAY, large

MILLISECONDS = 2000
"""Within which the page is to be seen, from the moment it is opened."""


@pytest.fixture(scope="module", name="chromium")
def start_chromium() -> Iterator[Browser]:
    with start() as browser:
        yield browser


@pytest.fixture(scope="module", name="fleet")
def write_fleet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of a large fleet."""
    return write(tmp_path_factory.mktemp("report") / "fleet.html", large())


@pytest.fixture(name="browser")
def open_page(chromium: Browser, fleet: str) -> Browser:
    """The page of the large fleet, as a person meets it first."""
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get(fleet)
    chromium.js("localStorage.clear()")
    chromium.get(fleet)
    chromium.problems()
    chromium.requested()
    return chromium


def rendered(browser: Browser) -> float:
    """When the page was seen first, in milliseconds after it was opened."""
    mark = "return performance.getEntriesByName('rendered')[0]?.startTime ?? null"
    return float(WebDriverWait(browser, 20).until(lambda _browser: browser.js(mark)))


def search(browser: Browser, text: str) -> None:
    field = browser.find_element(By.NAME, "search")
    field.clear()
    field.send_keys(text)


def test_3000_disks_are_seen_in_time(browser: Browser, fleet: str) -> None:
    times = []
    for _run in range(3):
        browser.get(fleet)
        times.append(rendered(browser))
    print(f"seen after {', '.join(f'{time:.0f}' for time in times)} ms")
    assert [len(browser.shown(place)) for place in range(4)] == [20, 1001, 3003, 4]
    assert min(times) < MILLISECONDS  # a slower run may be the fault of whatever else this machine does
    assert browser.problems() == []


def test_the_search_finds_a_disk(browser: Browser) -> None:
    search(browser, "hv13-vm07 data")
    assert browser.shown(0) == ["hv13"]
    assert browser.shown(1) == ["hv13-vm07"]
    assert browser.shown(2) == ["hv13-vm07 / data"]
    assert browser.shown(3) == ["nfs nas1"]
    row = browser.find_element(By.CSS_SELECTOR, "section:nth-of-type(3) .row")
    assert "nfs nas1:/export/hv13-vm07.img" in row.text
    search(browser, "no such thing")
    assert [browser.shown(place) for place in range(4)] == [[], [], [], []]


@pytest.mark.parametrize(
    ("name", "choice", "vms"),
    [
        ("host", AWAY, [f"{AWAY}-vm{number:02}" for number in range(50)]),
        ("state", "io-error", ["hv04-vm01"]),
        ("drift", "any", ["stray", "hv02-vm05", "hv03-vm01", "hv04-vm01"]),
        ("drift", "I/O error", ["hv04-vm01"]),
        ("drift", "restart needed", ["hv03-vm01"]),
        ("drift", "not running", ["hv02-vm05"]),
    ],
)
def test_a_filter_leaves_what_it_says(browser: Browser, name: str, choice: str, vms: list[str]) -> None:
    browser.find_element(By.NAME, name).send_keys(choice)
    assert browser.shown(1) == vms
    browser.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    WebDriverWait(browser, 5).until(lambda _browser: len(browser.shown(1)) == 1001)


WRONG = [
    ("does not answer", AWAY),
    ("I/O error", "hv04-vm01"),
    ("not running", "hv02-vm05"),
    ("disk with I/O errors", "hv04-vm01 / data"),
    ("restart needed", "hv03-vm01"),
    ("undeclared", "4"),
]
"""What is wrong in the large fleet, the worst first."""


def test_what_is_wrong_stands_on_top(browser: Browser) -> None:
    panel = browser.find_element(By.ID, "wrong")
    assert panel.location["y"] < browser.find_element(By.ID, "map").location["y"]
    assert [button.text for button in panel.find_elements(By.TAG_NAME, "button")] == [f"{a}: {b}" for a, b in WRONG]
    button = panel.find_elements(By.TAG_NAME, "button")[1]
    button.click()
    assert (browser.shown(0), browser.shown(1)) == (["hv04"], ["hv04-vm01"])
    assert (browser.heading(), button.get_attribute("aria-pressed")) == ("hv04-vm01", "true")
    assert "only I/O error" in browser.find_element(By.ID, "found").text
    button.click()
    assert (len(browser.shown(1)), button.get_attribute("aria-pressed")) == (1001, "false")


def test_the_capacity_of_hosts_and_pools(browser: Browser) -> None:
    details = browser.find_element(By.ID, "details").text
    assert "hv05 50 156 % 156 %" in details
    assert "hv01 51 156 % 78 %" in details
    assert "rbd vms 1,000" in details
    assert browser.find_element(By.CSS_SELECTOR, "#details span.warn").text == "156 %"
    browser.js("visit(columns[0].items[4])")
    assert "200 GiB of 128 GiB" in browser.find_element(By.ID, "details").text


def test_a_backend_leaves_its_disks(browser: Browser) -> None:
    browser.find_element(By.NAME, "backend").send_keys("nfs")
    assert (len(browser.shown(2)), browser.shown(3)) == (500, ["nfs nas1"])


def test_storage_is_no_better_known_than_its_disks(chromium: Browser, tmp_path: Path) -> None:
    """No host could be asked, and of one disk the size is declared."""
    looks: dict[str, Any] = {"hv1": {"unreachable": True, "msg": "No route to host"}}
    nfs: dict[str, Any] = {"nfs": {"host": "nas1", "path": "/a"}}
    disks = {"root": {**nfs, "size": "1GiB"}, "data": {"nfs": {"host": "nas1", "path": "/b"}}}
    declared = {"hv1": {"qemu_vms": {"web1": {"disks": disks}}}}
    chromium.get(write(tmp_path / "away.html", report(read_fleet(declared), looks)))
    row = chromium.find_element(By.CSS_SELECTOR, "section:nth-of-type(4) .row")
    assert "2 disks · 1 GiB in 1 of them" in row.text
    assert row.find_elements(By.CSS_SELECTOR, ".dot.idle")


def test_everything_is_done_by_keyboard(browser: Browser) -> None:
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("/")
    assert browser.switch_to.active_element.get_attribute("name") == "search"
    browser.press("hv04-vm01 data", Keys.ENTER)
    assert (active(browser), browser.heading()) == ("hv04-vm01 / data", "hv04-vm01 / data")
    details = browser.find_element(By.ID, "details").text
    assert "Its last request failed." in details
    assert "3 requests failed." in details
    browser.press(Keys.ESCAPE)
    browser.press(Keys.ARROW_LEFT)
    assert active(browser) == "hv04-vm01"
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    assert active(browser) == "hv04-vm02"
    assert browser.js("return [...document.querySelectorAll('.row.active b')].map((title) => title.textContent)") == [
        *("hv04", "hv04-vm02", "hv04-vm02 / root", "rbd 192.0.2.1, 192.0.2.2, 192.0.2.3")
    ]
    assert browser.shown(2) == [f"hv04-vm02 / {disk}" for disk in ("root", "data", "tools")]
    assert len(browser.shown(1)) == 1001
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.END)
    assert active(browser) == "iscsi 192.0.2.9"
    browser.press(Keys.ESCAPE)
    assert len(browser.shown(2)) == 3003
    browser.press(Keys.ARROW_LEFT, Keys.END)
    assert active(browser) == "hv20-vm49 / tools"
    browser.press(Keys.PAGE_UP, Keys.HOME, Keys.ARROW_UP)
    assert active(browser) == "hv01-vm00 / root"
    browser.press(Keys.ESCAPE)
    assert browser.heading() == "Overview"


def active(browser: Browser) -> str:
    """The row that assistive technology is told of, which must be there and in view."""
    row = browser.find_element(By.ID, browser.switch_to.active_element.get_attribute("aria-activedescendant") or "")
    inside = (
        "const [row, list] = [arguments[0], arguments[0].closest('.list')].map((one) => one.getBoundingClientRect());"
        "return row.top >= list.top - 1 && row.bottom <= list.bottom + 1"
    )
    assert browser.js(inside, row)
    assert (row.get_attribute("role"), bool(row.get_attribute("aria-posinset"))) == ("option", True)
    return row.find_element(By.TAG_NAME, "b").text


def test_tab_reaches_every_control_and_the_focus_is_seen(browser: Browser) -> None:
    reached = []
    for _step in range(18):
        browser.press(Keys.TAB)
        element = browser.switch_to.active_element
        assert element.value_of_css_property("outline-style") == "solid", element.get_attribute("outerHTML")
        reached.append(element.accessible_name)
    assert reached == [
        "Search hosts, VMs, disks and storage",
        *("Host", "Backend", "State", "Drift", "Show all", "Dark"),
        *(f"{kind}: {name}" for kind, name in WRONG),
        *("Hosts 20", "VMs 1,001", "Disks 3,003", "Storage 4"),
        "Details",
    ]


def test_a_click_shows_what_belongs_to_a_row_and_another_click_all_again(browser: Browser) -> None:
    row = browser.find_elements(By.CSS_SELECTOR, "section:nth-of-type(1) .row")[3]
    row.click()
    assert browser.heading() == "hv04"
    assert (len(browser.shown(0)), len(browser.shown(1)), len(browser.shown(2))) == (20, 50, 150)
    row.click()
    assert len(browser.shown(1)) == 1001
    browser.js("columns[2].list.scrollTop = 46 * 1500")
    row = WebDriverWait(browser, 5).until(lambda _browser: browser.js("return columns[2].shown[1505].element ?? null"))
    title = row.find_element(By.TAG_NAME, "b").text
    row.click()
    assert (browser.heading(), browser.shown(2)[1505]) == (title, title)
    assert browser.shown(0) == [title[:4]]


def test_a_button_leads_to_what_a_filter_hides(browser: Browser) -> None:
    search(browser, "hv04-vm01 data")
    browser.press(Keys.ENTER)
    search(browser, "hv20")
    assert browser.shown(0) == ["hv20"]
    browser.find_element(By.XPATH, "//nav/button[.='hv04-vm01']").click()
    assert (active(browser), browser.heading(), len(browser.shown(1))) == ("hv04-vm01", "hv04-vm01", 1001)


def test_the_pointer_marks_what_belongs_to_a_row(browser: Browser) -> None:
    ActionChains(browser).move_to_element(
        browser.find_elements(By.CSS_SELECTOR, "section:nth-of-type(2) .row")[2]
    ).perform()
    marked = "return [...document.querySelectorAll('.row.related b')].map((title) => title.textContent)"
    expected = ["hv01", "hv01-vm02", *(f"hv01-vm02 / {disk}" for disk in ("root", "data", "tools"))]
    storage = ["rbd 192.0.2.1, 192.0.2.2, 192.0.2.3", "https images.example", "iscsi 192.0.2.9"]
    WebDriverWait(browser, 5).until(lambda _browser: browser.js(marked) == [*expected, *storage])
    assert browser.js("return document.querySelectorAll('path.related').length") == 7


BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


def test_the_page_is_as_light_as_the_system_until_it_is_switched(browser: Browser, fleet: str) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(fleet)
        seen[scheme] = browser.js(BACKGROUND)
        assert faint_texts(browser) == []
        browser.js("visit(columns[1].shown.find((item) => item.title === 'hv04-vm01'))")
        assert faint_texts(browser) == []
    assert seen["light"] != seen["dark"]
    browser.find_element(By.ID, "theme").click()
    assert browser.js(BACKGROUND) == seen["light"]
    browser.get(fleet)
    assert browser.js(BACKGROUND) == seen["light"]


def faint_texts(browser: Browser) -> Any:
    """Texts whose contrast is below what WCAG 2 needs of small ones."""
    return browser.js("""
      const channels = (color) => color.match(/[\\d.]+/g).map(Number);
      const luminance = ([red, green, blue]) => [red, green, blue].map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((total, value, index) => total + value * [0.2126, 0.7152, 0.0722][index], 0);
      const behind = (element) => {
        const color = channels(getComputedStyle(element).backgroundColor);
        return color[3] === 0 ? behind(element.parentElement) : color;
      };
      document.getAnimations().forEach((animation) => animation.finish());
      return [...document.querySelectorAll("body *")].filter((element) =>
        element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .map((element) => {
          const two = [channels(getComputedStyle(element).color), behind(element)].map(luminance);
          return [(Math.max(...two) + 0.05) / (Math.min(...two) + 0.05), element.textContent];
        }).filter(([contrast]) => contrast < 4.5)
    """)


@pytest.mark.parametrize("width", [400, 1280])
def test_a_narrow_window_has_all_of_it(browser: Browser, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert browser.js("return document.documentElement.scrollWidth") == width
        browser.js("visit(columns[3].shown[0])")
        box = browser.js("return columns[3].list.getBoundingClientRect()")
        assert box["left"] >= 0 and box["right"] <= width
        assert box["height"] > 100
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_asked_of_a_network(browser: Browser, fleet: str) -> None:
    browser.get(fleet)
    search(browser, "hv13")
    browser.press(Keys.ENTER, Keys.ENTER)
    browser.find_element(By.ID, "theme").click()
    assert browser.requested() == [fleet]
    assert browser.problems() == []


def test_the_policy_forbids_what_a_script_might_ask_for(browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        browser.js(
            "fetch(arguments[0]).catch(() => {});"
            "document.body.append(Object.assign(new Image(), {src: arguments[0]}),"
            "  Object.assign(document.createElement('script'), {textContent: 'window.hostile = 1'}),"
            "  Object.assign(document.createElement('iframe'), {src: arguments[0]}))",
            address,
        )
        with pytest.raises(TimeoutError):
            server.accept()
    assert browser.js("return window.hostile ?? null") is None
    assert len([problem for problem in browser.problems() if "Content Security Policy" in problem]) >= 4


HOSTILE = "</script><img src=x onerror='window.hostile=1'><!--<script>window.hostile=1</script>"


def test_a_hostile_name_is_only_a_name(chromium: Browser, tmp_path: Path) -> None:
    host = {"host": HOSTILE, "status": "failed", "problem": HOSTILE, "errors": [HOSTILE]}
    vm = {"host": HOSTILE, "vm": HOSTILE, "declared": HOSTILE, "status": HOSTILE, "problem": HOSTILE}
    vm |= {"memory": None, "cpus": None, "enabled": None, "opens": [HOSTILE], "drift": [HOSTILE]}
    disk: dict[str, Any] = dict.fromkeys(
        ("host", "vm", "disk", "backend", "storage", "pool", "system", "io_status"), HOSTILE
    )
    disk |= {"actual": None, "io": None, "drift": [HOSTILE]}
    drift = {HOSTILE: HOSTILE}
    address = write(tmp_path / "hostile.html", {"drift": drift, "hosts": [host], "vms": [vm], "disks": [disk]})
    chromium.problems()
    chromium.get(address)
    for place in range(4):
        chromium.js("visit(columns[arguments[0]].items[0])", place)
        assert HOSTILE in chromium.heading()
    chromium.js("show(null)")
    assert chromium.js("return document.querySelectorAll('img').length") == 0
    assert chromium.js("return window.hostile ?? null") is None
    assert chromium.problems() == []


def test_an_empty_fleet_is_shown(chromium: Browser, tmp_path: Path) -> None:
    chromium.problems()
    chromium.get(write(tmp_path / "empty.html", {"drift": {}, "hosts": [], "vms": [], "disks": []}))
    chromium.press("/", Keys.ENTER, Keys.TAB, Keys.ESCAPE)
    assert chromium.find_element(By.ID, "wrong").text == "There are no hosts."
    assert chromium.heading() == "Overview"
    assert chromium.problems() == []
