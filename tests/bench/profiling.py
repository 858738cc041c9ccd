# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of a run goes: the action plugin's steps one by one, here and on the host, each with a clock."""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, Protocol

import yaml

from ansible_collections.directdisk.qemu.plugins import module_utils
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run import Run
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import read_run_options

PROGRAM = Path(__file__).resolve().parent / "host_profile.py"
REMOTE = "/run/qemu-vms-bench"
TIMES = 5

Row = tuple[str, int, float]


class Host(Protocol):
    """What the benchmark's host can do here."""

    def on_host(self, script: str, stdin: int = subprocess.DEVNULL) -> str:
        """Run a script on the host and return its output."""


def look(host: Host, declaration: Path) -> None:
    """A run without a change: the whole of it but Ansible's own part."""
    ship(host)
    vms, request, rows = _before(declaration)
    answer, host_rows = ask(host, {"observe": request})
    print(f"A run without a change, {len(vms)} VMs; milliseconds, of the controller's the best of {TIMES}\n")
    show("controller, before the host", rows)
    show("host", host_rows)
    show("controller, after the host", _after(vms, answer)[1])
    sizes = {"request": request, "answer": answer}
    print(", ".join(f"{name} {len(json.dumps(data)) / 1024:.0f} KiB" for name, data in sizes.items()), "\n")
    print(_hottest(lambda: _after(_before(declaration)[0], answer)))


def apply(host: Host, declaration: Path) -> None:
    """A first run's second call of the host."""
    ship(host)
    vms, request, _rows = _before(declaration)
    answer, _host_rows = ask(host, {"observe": request})
    wanted, _rows = _after(vms, answer)
    done, host_rows = ask(host, {"desired": wanted, "encrypted": answer["capabilities"]["encrypts"]})
    print(f"A first run's changes, {len(vms)} VMs, {len(done['actions'])} actions; milliseconds\n")
    show("host", host_rows)


def ship(host: Host) -> None:
    """The host's part of the collection to the host."""
    (folder,) = module_utils.__path__
    with tempfile.TemporaryFile() as archive:
        name = "ansible_collections/directdisk/qemu/plugins/module_utils"
        command = ["tar", "--create", "--dereference", "--exclude=__pycache__", f"--transform=s,^\\.,{name},"]
        subprocess.run([*command, "-C", folder, "."], stdout=archive, check=True)
        archive.seek(0)
        host.on_host(f"rm -rf {REMOTE} && mkdir {REMOTE} && tar --extract -C {REMOTE}", stdin=archive.fileno())
    with PROGRAM.open("rb") as program:
        host.on_host(f"cat >{REMOTE}/profile.py", stdin=program.fileno())


def ask(host: Host, request: dict[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    """One request of the action plugin."""
    with tempfile.TemporaryFile("w+") as stream:
        json.dump({"request": request, "secrets": {}}, stream)
        stream.flush()
        stream.seek(0)
        said = json.loads(host.on_host(f"PYTHONDONTWRITEBYTECODE=1 python3 {REMOTE}/profile.py", stdin=stream.fileno()))
    return said["answer"], [(str(name), int(calls), float(seconds)) for name, calls, seconds in said["times"]]


def _before(declaration: Path) -> tuple[tuple[Any, ...], dict[str, Any], list[Row]]:
    rows: list[Row] = []
    text = declaration.read_text()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    given = _timed(rows, "yaml.load", lambda: yaml.load(text, loader))
    vms = _timed(rows, "read_vms", lambda: read_vms(given["qemu_vms"], "hv1"))
    _timed(rows, "secrets_of", lambda: host_plans.secrets_of(vms))
    request = _timed(rows, "observation", lambda: host_plans.observe_request(vms, texts=False))
    return vms, request, rows


def _after(vms: Sequence[Any], answer: dict[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    rows: list[Row] = []
    capabilities, observed = Capabilities.from_probe(answer["capabilities"]), answer["observed"]
    options = read_run_options({})
    plans = _timed(rows, "make_plans", lambda: host_plans.make_plans(vms, capabilities, observed))
    run = _timed(
        rows,
        "desired state and changes",
        lambda: Run("hv1", plans, observed, options, encrypted=capabilities.encrypts),
    )
    _timed(rows, "prediction", lambda: run.predict(DiskResults(), diff=False))
    return run.desired, rows


def _timed(rows: list[Row], name: str, function: Callable[[], Any]) -> Any:
    best, result = float("inf"), None
    for _attempt in range(TIMES):
        begin = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - begin)
    rows.append((name, 1, best))
    return result


def show(title: str, rows: Iterable[Row]) -> None:
    print(title)
    for name, calls, seconds in rows:
        print(f"  {1000 * seconds:9.1f}  {name}{f' ({calls} calls)' if calls > 1 else ''}")
    print()


def _hottest(function: Callable[[], Any]) -> str:
    profile = cProfile.Profile()
    profile.runcall(function)
    stream = io.StringIO()
    pstats.Stats(profile, stream=stream).strip_dirs().sort_stats("tottime").print_stats(15)
    return stream.getvalue()
