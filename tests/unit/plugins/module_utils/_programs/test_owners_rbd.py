# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that asks Ceph who has an image open, with doubles of its libraries."""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import owners_rbd


class Rados:
    """A double of librados; it remembers the settings of its client. fails: results of functions by their names."""

    def __init__(self, address: str | None = "v2:192.0.2.1:0/99", fails: dict[str, int] | None = None) -> None:
        self.settings: dict[str, str] = {}
        self.pools = self.waits = 0
        self.namespace = ""
        self.blocklists = 0
        self.blocklisted: list[tuple[str, int]] = []
        self._address = address
        self._fails = fails or {}

    def rados_create(self, cluster: Any, user: bytes) -> int:
        self.settings["user"] = user.decode()
        return self._fails.get("create", 0)

    def rados_conf_read_file(self, cluster: Any, path: bytes) -> int:
        return self._fails.get("read", 0)

    def rados_conf_set(self, cluster: Any, name: bytes, value: bytes) -> int:
        self.settings[name.decode()] = value.decode()
        return self._fails.get("set", 0)

    def rados_connect(self, cluster: Any) -> int:
        return self._fails.get("connect", 0)

    def rados_getaddrs(self, cluster: Any, text: Any) -> int:
        text._obj.value = self._address and self._address.encode()
        return 0

    def rados_blocklist_add(self, cluster: Any, place: bytes, seconds: int) -> int:
        if self.blocklists == 0:
            self.blocklisted.append((place.decode(), seconds))
        return self.blocklists

    def rados_wait_for_latest_osdmap(self, cluster: Any) -> int:
        self.waits += 1
        return 0

    def rados_ioctx_create(self, cluster: Any, pool: bytes, handle: Any) -> int:
        self.pools += 1
        return -2 if pool == b"gone" else 0

    def rados_ioctx_set_namespace(self, pool: Any, name: bytes) -> None:
        self.namespace = name.decode()

    def rados_ioctx_destroy(self, pool: Any) -> None:
        self.pools -= 1


class Rbd:
    """A double of librbd with an image that has watchers and lockers. fails: results of functions by their names."""

    def __init__(
        self,
        watchers: Sequence[tuple[int, str]],
        lockers: Sequence[tuple[str, str, str]] = (),
        fails: dict[str, int] | None = None,
    ) -> None:
        self._watchers = watchers
        self._lockers = lockers
        self._fails = fails or {}
        self.open = 0
        self.broken: list[tuple[str, str]] = []

    def rbd_break_lock(self, handle: Any, client: bytes, cookie: bytes) -> int:
        if self._fails.get("break"):
            return self._fails["break"]
        self.broken.append((client.decode(), cookie.decode()))
        # Ceph ends the watch of a blocklisted client.
        self._watchers = [one for one in self._watchers if f"client.{one[0]}" != client.decode()]
        self._lockers = [one for one in self._lockers if one[0] != client.decode()]
        return 0

    def rbd_open_read_only(self, pool: Any, image: bytes, handle: Any, snapshot: None) -> int:
        if image == b"gone":
            return -2
        self.open += 1
        return 0

    def rbd_close(self, handle: Any) -> int:
        self.open -= 1
        return 0

    def rbd_watchers_list(self, handle: Any, found: Any, most: Any) -> int:
        for place, (number, address) in enumerate(self._watchers):
            found[place].id, found[place].addr = number, address.encode()
        most._obj.value = len(self._watchers)
        return self._fails.get("watchers", 0)

    def rbd_list_lockers(self, handle: Any, exclusive: Any, *texts: Any) -> int:
        if not self._lockers:
            return self._fails.get("lockers", 0)
        for text, column in zip(texts[2::2], zip(*self._lockers)):
            joined = b"".join(part.encode(errors="surrogateescape") + b"\0" for part in column)
            ctypes.memmove(text, joined, len(joined))
        return len(self._lockers)


CHECK = {"user": "qemu", "conf": "/c", "settings": {"mon_host": "192.0.2.5:6789"}, "pool": "vms", "image": "root"}


def rbd(library: Rbd, *checks: dict[str, Any], rados: Rados | None = None) -> list[dict[str, Any]]:
    return list(owners_rbd.answers(rados or Rados(), library, checks or (CHECK,), 4))


def test_an_image_that_nobody_watches_has_no_owner() -> None:
    # A client that was killed leaves its lock, and librbd takes that over.
    assert rbd(Rbd([], [("client.7", "auto 1", "192.0.2.9:0/1")])) == [{"owners": []}]


def test_every_watcher_is_an_owner() -> None:
    library = Rbd([(4123, "192.0.2.9:0/17"), (5, "192.0.2.1:0/3")], [("client.4123", "auto 9", "192.0.2.9:0/17")])
    (answer,) = rbd(library)
    # The number says who came first, and both see the same order.
    second, first = answer["owners"]
    assert first["name"] == "open by client.4123 at 192.0.2.9, which holds its lock"
    assert "ceph osd blocklist add 192.0.2.9:0/17" in first["advice"]
    assert (second["name"], first["here"], second["here"]) == ("open by client.5 at 192.0.2.1", False, True)


def test_whoever_has_locked_an_image_by_hand_is_an_owner() -> None:
    (answer,) = rbd(Rbd([], [("client.4", "mine", "192.0.2.8:0/1")]))
    assert [owner["name"] for owner in answer["owners"]] == ["locked by hand by client.4 at 192.0.2.8"]


def test_an_image_that_is_not_there_does_not_hide_the_others() -> None:
    library = Rbd([(1, "[2001:db8::9]:0/17")])
    gone, pool, root = rbd(library, {**CHECK, "image": "gone"}, {**CHECK, "pool": "gone"}, CHECK)
    assert gone == {"error": "error reading header from gone: No such file or directory"}
    assert pool == {"error": "error opening pool: No such file or directory"}
    assert root["owners"][0]["name"] == "open by client.1 at [2001:db8::9]"


def test_the_cluster_is_asked_as_qemu_asks_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("AQ==", encoding="utf-8")
    rados = Rados()
    rbd(Rbd([]), {**CHECK, "namespace": "team", "key": str(tmp_path / "key")}, rados=rados)
    assert rados.settings == {
        "user": "qemu",
        "mon_host": "192.0.2.5:6789",
        "key": "AQ==",
        **dict.fromkeys(("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout"), "4"),
    }
    assert rados.namespace == "team"


@pytest.mark.parametrize(
    ("function", "doing"),
    [
        ("create", "error connecting"),
        ("read", "error reading conf file"),
        ("set", "error setting mon_host"),
        ("connect", "error connecting"),
    ],
)
def test_a_cluster_that_refuses_says_why(function: str, doing: str) -> None:
    with pytest.raises(owners_rbd.Failed, match=f"{doing}: Permission denied"):
        rbd(Rbd([]), rados=Rados(fails={function: -13}))


def test_a_limit_of_less_than_a_second_is_one() -> None:
    """0 would be no limit at all."""
    rados = Rados()
    list(owners_rbd.answers(rados, Rbd([]), [CHECK], 0.4))
    assert rados.settings["rados_osd_op_timeout"] == "1"


def test_an_address_in_another_form_is_told_as_it_is_and_not_taken_for_this_host() -> None:
    library = Rbd([(1, "somewhere")], [("client.4", "mine", "elsewhere")])
    (answer,) = rbd(library, rados=Rados(address=None))
    assert [(owner["name"], owner["here"], owner["address"]) for owner in answer["owners"]] == [
        ("open by client.1 at somewhere", False, ""),
        ("locked by hand by client.4 at elsewhere", False, ""),
    ]


def test_an_owner_at_an_address_of_version_6_is_compared_without_brackets() -> None:
    (answer,) = rbd(Rbd([(1, "[2001:db8::9]:0/17")]))
    assert answer["owners"][0]["address"] == "2001:db8::9"


def test_watchers_that_cannot_be_listed_are_an_error_and_lockers_are_none() -> None:
    library = Rbd([], fails={"watchers": -5})
    assert rbd(library) == [{"error": "error listing watchers: Input/output error"}]
    assert rbd(Rbd([], fails={"lockers": -5})) == [{"owners": []}]
    assert library.open == 0


def test_a_lock_whose_cookie_is_no_text_is_one_of_somebody_else() -> None:
    (answer,) = rbd(Rbd([], [("client.4", "\udcff", "192.0.2.8:0/1")]))
    assert [owner["name"] for owner in answer["owners"]] == ["locked by hand by client.4 at 192.0.2.8"]


def test_a_client_is_blocklisted_and_its_lock_broken() -> None:
    library = Rbd([(4123, "192.0.2.9:0/17")], [("client.4123", "auto 9", "192.0.2.9:0/17")])
    rados = Rados()
    (answer,) = rbd(library)
    (owner,) = answer["owners"]
    assert owner["action"] == "blocklist client.4123 (192.0.2.9:0/17), and break its lock if it has one"
    assert owner["address"] == "192.0.2.9"
    assert rbd(library, {**CHECK, "take": [owner["take"]]}, rados=rados) == [{"owners": []}]
    assert rados.blocklisted == [("192.0.2.9:0/17", 0)]
    assert library.broken == [("client.4123", "auto 9")]


def test_the_lock_of_another_client_is_not_broken() -> None:
    library = Rbd([], [("client.4", "mine", "192.0.2.8:0/1"), ("client.5", "yours", "192.0.2.9:0/1")])
    (answer,) = rbd(library)
    (left,) = rbd(library, {**CHECK, "take": [answer["owners"][0]["take"]]})
    assert library.broken == [("client.4", "mine")]
    assert [owner["name"] for owner in left["owners"]] == ["locked by hand by client.5 at 192.0.2.9"]


@pytest.mark.parametrize(("result", "reason"), [(-13, "Permission denied"), (-1, "Operation not permitted")])
def test_a_user_who_may_not_blocklist_is_told_how_to(result: int, reason: str) -> None:
    library = Rbd([(1, "192.0.2.9:0/17")], [("client.1", "auto 9", "192.0.2.9:0/17")])
    rados = Rados()
    rados.blocklists = result
    (answer,) = rbd(library, {**CHECK, "take": [{"client": "client.1", "place": "192.0.2.9:0/17"}]}, rados=rados)
    assert answer == {
        "error": f"blocklisting 192.0.2.9:0/17: {reason}; Ceph user qemu may not do this: give it the monitor "
        "capability 'profile rbd' (ceph auth caps), or run ceph osd blocklist add 192.0.2.9:0/17 as a user that may"
    }
    # A lock is broken only once its client cannot write any more.
    assert library.broken == []


TAKE = {**CHECK, "take": [{"client": "client.1", "place": "192.0.2.9:0/17"}]}
LOCKED = [("client.1", "auto 9", "192.0.2.9:0/17")]


def test_a_client_that_cannot_be_blocklisted_keeps_its_lock() -> None:
    rados, library = Rados(), Rbd([], LOCKED)
    rados.blocklists = -5
    assert rbd(library, TAKE, rados=rados) == [{"error": "blocklisting 192.0.2.9:0/17: Input/output error"}]
    assert library.broken == []


def test_an_image_that_cannot_be_opened_keeps_its_locks() -> None:
    library = Rbd([], LOCKED)
    (answer,) = rbd(library, {**TAKE, "image": "gone"})
    assert answer == {"error": "error reading header from gone: No such file or directory"}
    assert library.broken == []


class OldRados(Rados):
    """A librados that has the function under its former name."""

    rados_blocklist_add = None  # type: ignore[assignment]

    def rados_blacklist_add(self, cluster: Any, place: bytes, seconds: int) -> int:
        return Rados.rados_blocklist_add(self, cluster, place, seconds)


@pytest.mark.parametrize("rados", [Rados(), OldRados()])
def test_a_lock_is_broken_once_the_cluster_knows_the_blocklist_and_nothing_stays_open(rados: Rados) -> None:
    library = Rbd([], LOCKED)
    assert rbd(library, TAKE, rados=rados) == [{"owners": []}]
    assert (rados.blocklisted, rados.waits, rados.pools, library.open) == ([("192.0.2.9:0/17", 0)], 1, 0, 0)


@pytest.mark.parametrize(("result", "error"), [(-2, ""), (-5, "breaking the lock of client.1: Input/output error")])
def test_a_lock_that_somebody_else_has_broken_is_no_error(result: int, error: str) -> None:
    (answer,) = rbd(Rbd([], LOCKED, fails={"break": result}), TAKE)
    assert answer.get("error", "") == error


def test_only_the_clients_that_are_taken_from_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Rbd([(1, "192.0.2.9:0/17"), (2, "192.0.2.8:0/17")])
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        library._watchers = [(2, "192.0.2.8:0/17")]

    monkeypatch.setattr(owners_rbd.time, "sleep", wait)
    (answer,) = rbd(library, TAKE)
    assert ([owner["name"] for owner in answer["owners"]], len(waited)) == (["open by client.2 at 192.0.2.8"], 1)


def run_program(module: types.ModuleType) -> None:
    program = compile(Path(str(module.__file__)).read_text(encoding="utf-8"), str(module.__file__), "exec")
    exec(program, {"__name__": "__main__"})


def run_rbd(monkeypatch: pytest.MonkeyPatch, libraries: Callable[[str], Any], check: dict[str, Any]) -> Any:
    """Run the program, and return its exit status."""

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(ctypes, "CDLL", libraries)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", ["owners", "4"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([check])))
    with pytest.raises(SystemExit) as ended:
        run_program(owners_rbd)
    return ended.value.code


def missing(_name: str) -> Any:
    raise OSError("librados.so.2: cannot open shared object file")


@pytest.mark.parametrize("libraries", [missing, lambda _name: object()], ids=["no library", "an old one"])
def test_a_host_without_the_libraries_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, libraries: Callable[[str], Any]
) -> None:
    assert run_rbd(monkeypatch, libraries, CHECK) == owners_rbd.UNABLE


@pytest.mark.parametrize(
    ("more", "fails", "status", "words"),
    [
        ({}, {}, 0, ""),
        ({}, {"connect": -13}, 1, "error connecting: Permission denied"),
        ({"key": "/none/key"}, {}, 1, "No such file or directory: '/none/key'"),
    ],
    ids=["answers", "refused", "no key"],
)
def test_the_program_says_why_it_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, str],
    fails: dict[str, int],
    status: int,
    words: str,
) -> None:
    def libraries(name: str) -> Any:
        return Rados(fails=fails) if "rados" in name else Rbd([])

    assert run_rbd(monkeypatch, libraries, {**CHECK, **more}) == status
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ('{"owners": []}\n' if status == 0 else "")


def test_an_image_whose_client_stays_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_rbd, "TAKEN", 0.0)
    library = Rbd([(1, "192.0.2.9:0/17")])
    (answer,) = rbd(library, {**CHECK, "take": [{"client": "client.1", "place": "192.0.2.9:0/17"}]})
    assert [owner["name"] for owner in answer["owners"]] == ["open by client.1 at 192.0.2.9"]
