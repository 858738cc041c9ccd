# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser without a network, and pages for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.page import page

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1400,900",
)


class Browser(Chrome):
    """Chromium with a few words of its own."""

    def js(self, code: str, *values: Any) -> Any:
        return self.execute_script(code, *values)

    def shown(self, place: int) -> list[str]:
        """The titles of what a column shows, seen or not."""
        return list(self.js("return columns[arguments[0]].shown.map((item) => item.title)", place))

    def heading(self) -> str:
        """What the details are about."""
        return str(self.js("return document.querySelector('#details h2').textContent"))

    def press(self, *keys: str) -> None:
        """Keys where the focus is."""
        for key in keys:
            self.switch_to.active_element.send_keys(key)

    def problems(self) -> list[str]:
        """What the browser complained of since it was last asked."""
        return [entry["message"] for entry in self.get_log("browser")]

    def requested(self) -> list[str]:
        """The addresses that were asked for since it was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.get_log("performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


def start() -> Browser:
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium") or "")
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the path of the driver, selenium does not look for one in the network.
    return Browser(options=options, service=ChromeService(shutil.which("chromedriver")))


def write(path: Path, report: dict[str, Any]) -> str:
    """The address of a page."""
    path.write_text(page(report, "2026-11-23T12:00:00+00:00"), encoding="utf-8")
    return path.as_uri()
