// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// What is wrong, on top of the page: each kind once, the worst first.

const NAMED = 3; // of more items only the number is told
const HALTING = ["I/O error", "not running", "internal error", "guest panicked", "watchdog", "paused", "not open", "other storage"];
let groups = [];

/** Kinds of what is wrong, with their items: hosts and VMs that do not answer, errors, and drift. */
function findWrong() {
  const [hosts, vms, disks] = columns.map((column) => column.items);
  const having = (kind) => [...vms, ...disks].filter((item) => item.row.drift.includes(kind));
  const others = distinct([...vms, ...disks].flatMap((item) => item.row.drift)).filter((kind) => !HALTING.includes(kind));
  return [
    ["bad", "does not answer", hosts.filter(({ row }) => row.status !== "answers")],
    ["bad", "error in the declaration", hosts.filter(({ row }) => row.errors.length)],
    ...HALTING.map((kind) => ["bad", kind, having(kind)]),
    ["bad", "disk with I/O errors", disks.filter(({ row }) => inTrouble(row))],
    ["bad", "QEMU does not answer", vms.filter(({ row }) => row.problem)],
    ...others.sort().map((kind) => ["warn", kind, having(kind)]),
  ].filter(([, , items]) => items.length).map(([kind, title, items]) => ({ kind, title, items: new Set(items) }));
}

function showWrong() {
  groups = findWrong();
  const good = make("p", { className: "good" }, make("span", {}, fleet.hosts.length ? "Nothing is wrong." : "There are no hosts."));
  document.getElementById("wrong").replaceChildren(...groups.length ? groups.map(groupButton) : [good]);
}

function groupButton(one) {
  const items = [...one.items];
  const names = items.length > NAMED ? items.length.toLocaleString("en") : items.map((item) => item.title).join(", ");
  one.button = make("button", { type: "button", className: one.kind }, make("b", {}, one.title), make("span", {}, `: ${names}`));
  one.button.onclick = () => {
    const again = one === group;
    only(again ? null : one);
    if (!again && items.length === 1) show(items[0]);
  };
  return one.button;
}

function markGroups() {
  for (const one of groups) one.button.setAttribute("aria-pressed", one === group);
}
