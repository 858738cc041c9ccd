# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for rbd images, from what is desired and what a look found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    Change,
    DesiredImage,
    ImagePlan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS, read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd import changes
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    CloneSource,
    FormerImage,
    Incomplete,
    Layout,
    NewImage,
    ObservedRbd,
    RbdImage,
    RollbackTarget,
    Snapshot,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

MIB = 1024**2
CLUSTER = {"key": "QUFB", "monitors": ["192.0.2.1"]}
RBD = {"pool": "vms", "image": "web1", **CLUSTER}
GOLDEN = {"rbd": {"pool": "images", "image": "debian", "snapshot": "golden", **CLUSTER}}
PLAIN = ("deep-flatten", "exclusive-lock", "fast-diff", "layering", "object-map")
DEFAULTS = Layout(PLAIN, 4 * MIB, stripe_unit=0, stripe_count=0, data_pool="")
LAYOUT = Layout(PLAIN, 4 * MIB, stripe_unit=4 * MIB, stripe_count=1, data_pool="")
THERE = ObservedRbd(True, 8 * MIB, "raw", image=RbdImage(LAYOUT))
MISSING = ObservedRbd(exists=False)
SNAPSHOT = Snapshot("s")
CLIENT = "192.0.2.11:0/77"


def missing(size: int = 0, clone: CloneSource | None = None) -> ObservedRbd:
    """There is no image; size and clone: of the source."""
    return replace(MISSING, new=NewImage(DEFAULTS, size, clone))


def there(**facts: Any) -> ObservedRbd:
    """There is an image; facts: of the disk, of the image and of its layout."""
    layout = {name: facts.pop(name) for name in list(facts) if hasattr(LAYOUT, name)}
    state = {name: facts.pop(name) for name in list(facts) if hasattr(THERE, name)}
    return replace(THERE, **state, image=RbdImage(replace(LAYOUT, **layout), **facts))


def image_of(image_plan: ImagePlan) -> RbdImage:
    """The image after a plan."""
    assert isinstance(image_plan.after, ObservedRbd)
    assert image_plan.after.image is not None
    return image_plan.after.image


def cloneable(**facts: Any) -> ObservedRbd:
    """There is no image, and its source is a snapshot in the same cluster."""
    clone = CloneSource(
        parent="images/debian@golden",
        protected=True,
        object_size=MIB,
        metadata={"os": "debian"},
        image_config={},
        clone_format=1,
    )
    return missing(8 * MIB, replace(clone, **facts))


def want(state: str = "present", monitor: str = "", node: str = "", **options: Any) -> DesiredImage:
    """Options of the disk and of its provision, as the module takes them side by side."""
    storage = {name: options.pop(name) for name in ("snapshot", "encryption") if name in options}
    disk = {name: options.pop(name) for name in ("size", "format", "luks", "source") if name in options}
    declared = read_image("disk", {"rbd": {**RBD, **storage}, **disk, "provision": options}, "disk")
    return read_desired(declared, "disk", state=state, monitor=monitor, node=node)


def plan(observed: ObservedRbd, **options: Any) -> ImagePlan:
    return KINDS["rbd"].plan(want(**options), observed)


def kinds(image_plan: ImagePlan) -> list[type[Change]]:
    return [type(step.change) for step in image_plan.steps]


def words(observed: ObservedRbd, **options: Any) -> list[str]:
    return [step.description for step in plan(observed, **options).steps]


def refusal(observed: ObservedRbd, **options: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        plan(observed, **options)
    return str(caught.value)


def test_a_new_image_is_what_a_look_will_find() -> None:
    image_plan = plan(missing(), size="8MiB")
    assert [step.description for step in image_plan.steps] == ["create rbd vms/web1 of 8 MiB"]
    assert image_plan.after == there()


def test_a_layout_is_completed_from_the_cluster_s_defaults() -> None:
    striped = {"object_size": "1MiB", "stripe_unit": "64KiB", "stripe_count": 4, "data_pool": "ec"}
    image_plan = plan(missing(), size="8MiB", features=["layering", "exclusive-lock", "object-map"], **striped)
    features = ["data-pool", "exclusive-lock", "fast-diff", "layering", "object-map", "striping"]
    layout = {
        "object_size": MIB,
        "stripe_unit": 65536,
        "stripe_count": 4,
        "data_pool": "ec",
        "features": tuple(features),
    }
    assert image_plan.after == there(**layout)


def test_an_image_without_a_size_is_as_large_as_its_source() -> None:
    source = {"http": {"url": "http://192.0.2.4/a.qcow2"}, "format": "qcow2"}
    assert plan(missing(size=1000), source=source).after.size == 1024
    assert words(missing(size=MIB), source=source, size="4MiB") == [
        "import http http://192.0.2.4/a.qcow2 into rbd vms/web1 of 4 MiB"
    ]
    assert (
        refusal(missing(size=MIB), source=source, size="512KiB") == "size: 512 KiB is less than the 1024 KiB of source"
    )
    assert refusal(missing()) == "size: is required, because rbd vms/web1 does not exist yet"


def test_a_clone_has_a_parent_and_what_its_parent_said_of_itself() -> None:
    image_plan = plan(cloneable(), source=GOLDEN, size="16MiB")
    assert [step.description for step in image_plan.steps] == ["clone rbd images/debian@golden as rbd vms/web1"]
    change = image_plan.steps[0].change
    assert isinstance(change, changes.CreateImage)
    assert (change.size, change.initial_size, change.clone) == (16 * MIB, 8 * MIB, True)
    expected = {"size": 16 * MIB, "object_size": MIB, "stripe_unit": MIB, "parent": "images/debian@golden"}
    assert image_plan.after == there(**expected, metadata={"os": "debian"})


def test_a_flattened_clone_has_no_parent() -> None:
    image_plan = plan(cloneable(), source=GOLDEN, flatten=True)
    assert kinds(image_plan) == [changes.CreateImage, changes.Flatten]
    assert image_of(image_plan).parent == ""
    assert words(there(parent="images/debian@golden"), flatten=True) == [
        "copy into rbd vms/web1 what it shares with images/debian@golden"
    ]
    assert words(there(), flatten=True) == []


def test_an_unprotected_parent_is_refused_where_old_clients_are_expected() -> None:
    assert "images/debian@golden is not protected" in refusal(cloneable(protected=False), source=GOLDEN)
    assert words(cloneable(protected=False, clone_format=2), source=GOLDEN)


def test_a_new_image_is_encrypted_in_one_form_and_as_a_whole() -> None:
    layer = {"format": "luks2", "passphrase": "x"}
    assert words(missing(), size="8MiB", encryption=layer) == ["create rbd vms/web1 of 8 MiB"]
    assert "luks or luks2" in refusal(missing(), size="8MiB", encryption={**layer, "format": "luks-any"})
    assert "parent is for a clone" in refusal(missing(), size="8MiB", encryption={**layer, "parent": layer})


def test_what_is_right_is_left_alone() -> None:
    assert words(there(), size="8MiB", metadata={}, features=PLAIN, object_size="4MiB") == []
    assert words(missing(), state="absent") == []
    assert words(there(size=9 * MIB)) == []


def test_a_smaller_image_grows_and_a_larger_one_shrinks_only_where_that_is_said() -> None:
    assert words(there(), size="16MiB") == ["grow rbd vms/web1 from 8 MiB to 16 MiB"]
    assert "would lose what is beyond 4 MiB" in refusal(there(), size="4MiB")
    assert words(there(), size="4MiB", allow_shrink=True) == ["shrink rbd vms/web1 from 8 MiB to 4 MiB"]


def test_an_open_image_grows_with_a_warning_or_through_its_vm() -> None:
    observed = there(watchers=(CLIENT,))
    assert "a guest sees the new size after its VM is restarted" in plan(observed, size="16MiB").warnings[0]
    assert plan(observed, size="16MiB", monitor="/run/qmp.sock", node="root.format").warnings == ()
    qcow2 = there(watchers=(CLIENT,), format="qcow2")
    assert "must not have two writers" in refusal(qcow2, size="16MiB", format="qcow2")
    assert words(qcow2, size="16MiB", format="qcow2", monitor="/run/qmp.sock", node="root.format")


@pytest.mark.parametrize(
    ("options", "deed"),
    [
        ({"size": "4MiB", "allow_shrink": True}, "shrunk"),
        ({"rollback": "s"}, "rolled back"),
        ({"state": "absent", "with_snapshots": True}, "removed"),
        ({"state": "absent", "trash": True}, "removed"),
    ],
)
def test_what_a_client_would_not_survive_is_refused_unless_forced(options: dict[str, Any], deed: str) -> None:
    observed = there(watchers=(CLIENT,), snapshots=(SNAPSHOT,), rollback=RollbackTarget(False, 8 * MIB))
    assert refusal(observed, **options) == (
        f"rbd vms/web1: is not {deed}: {CLIENT} has it open; stop that client, or set force: true"
    )
    assert len(plan(observed, **options, force=True).steps) == 1


def test_an_image_with_snapshots_is_removed_where_that_is_said_and_nothing_depends_on_them() -> None:
    observed = there(snapshots=(SNAPSHOT,))
    assert "it has the snapshots s; set with_snapshots: true" in refusal(observed, state="absent")
    assert words(observed, state="absent", with_snapshots=True) == ["remove rbd vms/web1 and its snapshots s"]
    parent = there(snapshots=(Snapshot("s", children=("vms/child",)),), children=("vms/child",))
    refused = "rbd vms/web1: is not removed: it has the clones vms/child; flatten them first"
    assert refusal(parent, state="absent", with_snapshots=True, force=True) == refused
    assert words(parent, state="absent", trash=True, trash_seconds=60) == [
        "move rbd vms/web1 to the trash for at least 60 s"
    ]


def test_snapshots_are_taken_protected_and_removed() -> None:
    image_plan = plan(there(), snapshots=[{"name": "b"}, {"name": "a", "protected": True}])
    assert [step.description for step in image_plan.steps] == [
        "take the snapshot rbd vms/web1@b",
        "take the snapshot rbd vms/web1@a",
        "protect rbd vms/web1@a",
    ]
    names = [(snapshot.name, snapshot.protected) for snapshot in image_of(image_plan).snapshots]
    assert names == [("a", True), ("b", False)]
    observed = there(snapshots=(Snapshot("s", protected=True),))
    assert words(observed, snapshots=[{"name": "s"}]) == []
    assert "it is protected" in refusal(observed, snapshots=[{"name": "s", "state": "absent"}])
    assert words(observed, snapshots=[{"name": "s", "state": "absent", "protected": False}]) == [
        "unprotect rbd vms/web1@s",
        "remove the snapshot rbd vms/web1@s",
    ]
    assert words(there(), snapshots=[{"name": "s", "state": "absent"}]) == []


@pytest.mark.parametrize("change", [{"state": "absent"}, {"protected": False}])
def test_a_snapshot_with_clones_stays_as_it_is(change: dict[str, Any]) -> None:
    children = ("vms/a", "vms/b")
    observed = there(snapshots=(Snapshot("s", "protected" in change, children),), children=children)
    assert "it has the clones vms/a, vms/b; flatten them first" in refusal(
        observed, snapshots=[{"name": "s", **change}]
    )


def test_an_image_is_rolled_back_where_it_differs() -> None:
    observed = there(snapshots=(SNAPSHOT,), rollback=RollbackTarget(False, 4 * MIB))
    image_plan = plan(observed, rollback="s")
    assert [step.description for step in image_plan.steps] == ["roll rbd vms/web1 back to s"]
    assert image_plan.after.size == 4 * MIB
    assert words(replace(observed, rollback=RollbackTarget(True, 8 * MIB)), rollback="s") == []
    assert refusal(observed, rollback="s", size="8MiB") == "rollback: s has 4 MiB; declare that size, or none"
    assert refusal(there(), rollback="s") == "rollback: rbd vms/web1 has no snapshot s (there are: none)"


def test_metadata_and_configuration_are_set_and_removed_by_their_keys() -> None:
    observed = there(metadata={"owner": "a", "old": "x", "same": "1"}, image_config={"rbd_cache": "true"})
    image_plan = plan(
        observed, metadata={"owner": "b", "old": None, "same": 1, "none": None}, image_config={"rbd_cache": False}
    )
    assert [step.description for step in image_plan.steps] == [
        "remove metadata old of rbd vms/web1",
        "set metadata owner of rbd vms/web1 to b",
        "set image_config rbd_cache of rbd vms/web1 to false",
    ]
    assert image_of(image_plan).metadata == {"owner": "b", "same": "1"}
    assert image_of(image_plan).image_config == {"rbd_cache": "false"}


def test_features_change_where_ceph_can_change_them() -> None:
    assert words(there(), features=["layering", "exclusive-lock"]) == [
        "turn off deep-flatten, fast-diff, object-map of rbd vms/web1"
    ]
    small = there(features=("layering",))
    assert words(small, features=["layering", "exclusive-lock", "fast-diff"]) == [
        "turn on exclusive-lock, fast-diff, object-map of rbd vms/web1"
    ]
    assert "without deep-flatten" in refusal(small, features=["layering", "deep-flatten"])
    assert "has layering, which cannot be turned off" in refusal(small, features=["exclusive-lock"])


@pytest.mark.parametrize(
    "option", [{"object_size": "8MiB"}, {"data_pool": "ec"}, {"stripe_unit": "1MiB", "stripe_count": 1}]
)
def test_a_layout_that_is_there_cannot_be_changed(option: dict[str, Any]) -> None:
    assert "which cannot be changed; declare what it has" in refusal(there(), **option)


def test_an_image_is_renamed_or_taken_out_of_the_trash_and_then_kept() -> None:
    renamed = replace(MISSING, former=FormerImage(there(), name="old"))
    assert words(renamed, renamed_from="old", size="16MiB") == [
        "rename rbd vms/old to rbd vms/web1",
        "grow rbd vms/web1 from 8 MiB to 16 MiB",
    ]
    restored = replace(MISSING, former=FormerImage(there(), trash_id="10ab"))
    image_plan = plan(restored, restore=True)
    assert [step.change for step in image_plan.steps] == [changes.RestoreImage("10ab")]
    assert image_plan.after == there()


def test_what_an_unfinished_run_left_goes_first() -> None:
    left = Incomplete(watchers=())
    image_plan = plan(replace(missing(), incomplete=left), size="8MiB")
    assert kinds(image_plan) == [changes.RemoveUnfinished, changes.CreateImage]
    assert image_plan.after == there()
    assert kinds(plan(replace(MISSING, incomplete=left), state="absent")) == [changes.RemoveUnfinished]
    assert kinds(plan(there(incomplete=left, half_renamed=True), size="8MiB")) == [changes.FinishRename]


def test_a_snapshot_is_only_looked_at() -> None:
    assert words(there(), snapshot="s") == []
    assert "there is no such image or snapshot" in refusal(MISSING, snapshot="s")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": 1000}, "size: 1000 is not a multiple of 512 bytes, QEMU's sector; set 1024"),
        ({"object_size": "3MiB"}, "object_size: 3145728 is not a power of two"),
        ({"object_size": "64MiB"}, "disk: provision: object_size: 67108864 is more than 33554432"),
        ({"stripe_count": 2}, "stripe_unit: stripe_unit and stripe_count are required together"),
        (
            {"features": ["journaling"]},
            "features: object-map, fast-diff and journaling need exclusive-lock",
        ),
        ({"features": ["striping"]}, "is not one of layering"),
        ({"thick": True, "format": "qcow2"}, "thick: is for a blank raw image"),
        ({"thick": True, "source": GOLDEN}, "thick: is for a blank raw image"),
        ({"snapshots": [{"name": "s"}, {"name": "s"}]}, "snapshots: s: is there twice"),
        ({"snapshots": [{"name": "s", "state": "absent", "protected": True}]}, "cannot be absent and protected"),
        ({"snapshots": [{"name": "s", "state": "absent"}], "rollback": "s"}, "is the target of rollback"),
        ({"snapshots": [{"name": "a@b"}]}, "'a@b' is not a name"),
        ({"metadata": ["x"]}, "metadata: is not a mapping of names to values"),
        ({"metadata": {"x": ["y"]}}, "metadata: x: is neither text nor a number nor true or false"),
        ({"metadata": {"conf_rbd_cache": "x"}}, "write image_config: {rbd_cache: ...}"),
        ({"image_config": {"cache": True}}, "image_config: cache: is not the name of an option of rbd's client"),
        ({"renamed_from": "web1"}, "renamed_from: is the name of the image itself"),
        ({"trash_seconds": 5}, "trash_seconds: is for trash: true"),
        ({"state": "absent", "snapshot": "s"}, "snapshot: is read-only"),
        ({"monitor": "/run/qmp.sock"}, "monitor: monitor and node are required together"),
    ],
)
def test_what_no_cluster_could_do_is_refused_before_one_is_asked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        want(**options)
    assert problem in str(caught.value)


def test_what_begins_as_an_unfinished_image_is_none() -> None:
    disk = read_image("disk", {"rbd": {**RBD, "image": "a.directdisk-part-0123abcd"}}, "disk")
    with pytest.raises(DeclarationError, match=r"^disk: image: ends with \.directdisk-part-"):
        read_desired(disk, "disk")


@pytest.mark.parametrize(
    ("size", "said"), [(10 * 1024**3, "10 GiB"), (1536 * 1024, "1536 KiB"), (1000, "1000 bytes"), (1024**4, "1 TiB")]
)
def test_sizes_in_words(size: int, said: str) -> None:
    assert in_words(size) == said


def test_what_other_hosts_left_unfinished_is_removed_first() -> None:
    name = "web1.directdisk-part-0123abcd"
    image_plan = plan(replace(missing(), abandoned=(name,)), size="1MiB")
    assert kinds(image_plan) == [changes.RemoveAbandoned, changes.CreateImage]
    assert image_plan.steps[0].line == f"remove rbd vms/{name}, which a run on another host left unfinished"


@pytest.mark.parametrize(
    ("observed", "options", "destroys"),
    [
        (there(), {"state": "absent"}, True),
        (there(), {"state": "absent", "trash": True}, False),
        (there(), {"size": "4MiB", "allow_shrink": True}, True),
        (there(), {"size": "16MiB"}, False),
        (there(snapshots=(SNAPSHOT,), rollback=RollbackTarget(False, 8 * MIB)), {"rollback": "s"}, True),
        (there(snapshots=(SNAPSHOT,)), {"snapshots": [{"name": "s", "state": "absent"}]}, True),
        (missing(), {"size": "8MiB"}, False),
    ],
)
def test_what_destroys_data_is_marked(observed: ObservedRbd, options: dict[str, Any], destroys: bool) -> None:
    assert [step.destroys for step in plan(observed, **options).steps] == [destroys]


def test_one_watcher_is_the_vm_that_is_stopped_first() -> None:
    desired = replace(want(state="absent"), closing="web1")
    removal = KINDS["rbd"].plan(desired, there(watchers=(CLIENT,)))
    assert [step.line for step in removal.steps] == ["DESTROYS DATA: remove rbd vms/web1"]
    with pytest.raises(DeclarationError, match=r"is not removed: .* has it open"):
        KINDS["rbd"].plan(desired, there(watchers=(CLIENT, "192.0.2.99")))
    with pytest.raises(DeclarationError, match=r"is not removed: .* has it open"):
        KINDS["rbd"].plan(want(state="absent"), there(watchers=(CLIENT,)))
