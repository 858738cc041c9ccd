// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// Which items are shown.

let chosen = null; // only what belongs to it is shown
let hovered = null;
let current = null; // what the details are about
let group = null; // of what is wrong: only what belongs to its items is shown

function passes(one, wanted) {
  const [host, vm, disk] = one.items.map((item) => item.row);
  return (!wanted.host || host.host === wanted.host)
    && (!wanted.backend || disk?.backend === wanted.backend)
    && (!wanted.state || vm?.status === wanted.state)
    && (!wanted.drift || (wanted.drift === "any" ? one.drift.size > 0 : one.drift.has(wanted.drift)))
    && wanted.words.every((word) => one.text.includes(word));
}

function filter() {
  const wanted = Object.fromEntries(new FormData(filters));
  wanted.words = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  const passing = chains.filter((one) => passes(one, wanted) && (!group || one.items.some((item) => group.items.has(item))));
  const all = new Set(passing.flatMap((one) => one.items));
  const narrow = chosen && new Set(passing.filter((one) => one.items.includes(chosen)).flatMap((one) => one.items));
  for (const column of columns) {
    const allowed = narrow && column !== chosen.column ? narrow : all;
    column.shown = column.items.filter((item) => allowed.has(item));
    column.count.textContent = column.shown.length.toLocaleString("en");
    if (!column.shown.includes(column.active)) activate(column, column.shown[0] ?? null);
  }
  const counts = ["host", "VM", "disk"].map((word, place) => plural(columns[place].shown.length, word));
  const narrowed = [group?.title, chosen && `what belongs to ${chosen.title}`].filter(Boolean).map((text) => ` · only ${text}`);
  document.getElementById("found").textContent = `${WRITTEN} · ${counts.join(", ")}${narrowed.join("")}`;
  markGroups();
  draw();
}
