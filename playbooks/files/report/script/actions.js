// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// What people do with keys and pointer.

function activate(column, item) {
  column.active = item;
  if (!item) return;
  const { list, shown } = column;
  const top = shown.indexOf(item) * ROW;
  list.scrollTop = Math.min(Math.max(list.scrollTop, top + ROW - list.clientHeight), top);
}

/** Make an item the one that the details are about, and bring what belongs to it into view. */
function visit(item) {
  if (!item.column.shown.includes(item)) {
    filters.reset();
    only(null);
  }
  for (const column of columns) {
    const own = new Set(related(item, column.place));
    activate(column, own.has(column.active) ? column.active : column.shown.find((one) => own.has(one)) ?? column.active);
  }
  show(item);
  item.column.list.focus();
}

function pin(item) {
  chosen = item;
  filter();
}

/** Show only what belongs to a group of what is wrong, or everything. */
function only(one) {
  group = one;
  pin(null);
}

function choose(name, value) {
  filters.elements[name].value = value;
  filter();
}

function move(column, by) {
  const place = column.shown.indexOf(column.active) + by;
  const item = column.shown[Math.min(Math.max(place, 0), column.shown.length - 1)];
  if (item) visit(item);
}

/** To the next column, where what belongs to the item that is left is active already. */
function cross(column, by) {
  const next = columns[column.place + by];
  if (next?.active) visit(next.active);
}

function onListKey(event, column) {
  const page = Math.max(Math.floor(column.list.clientHeight / ROW) - 1, 1);
  const actions = {
    ArrowDown: () => move(column, 1),
    ArrowUp: () => move(column, -1),
    PageDown: () => move(column, page),
    PageUp: () => move(column, -page),
    Home: () => move(column, -Infinity),
    End: () => move(column, Infinity),
    ArrowRight: () => cross(column, 1),
    ArrowLeft: () => cross(column, -1),
    Enter: () => column.active && pin(column.active === chosen ? null : column.active),
  };
  actions[" "] = actions.Enter;
  if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[event.key]();
}

function onKey(event) {
  const typing = event.target.matches("input, select");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    filters.elements.search.focus();
  } else if (event.key === "Escape") {
    if (chosen) pin(null);
    else if (group) only(null);
    else if (filters.elements.search.value) choose("search", "");
    else show(null);
  } else if (["Enter", "ArrowDown"].includes(event.key) && event.target === filters.elements.search) {
    event.preventDefault();
    toFirstFound();
  }
}

/** From the search to the first item that has all its words itself, rather than to its host. */
function toFirstFound() {
  const words = filters.elements.search.value.toLowerCase().split(/\s+/);
  const found = columns.flatMap((column) => column.shown);
  const item = found.find(({ text }) => words.every((word) => text.includes(word))) ?? columns[2].shown[0] ?? found[0];
  if (item) visit(item);
}
