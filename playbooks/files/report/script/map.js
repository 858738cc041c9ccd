// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// Drawing: the rows that are in view, and the lines between those that belong together.

function draw() {
  const lit = hovered ?? chosen ?? current;
  const near = new Set(lit?.chains.flatMap((one) => one.items));
  columns.forEach((column) => drawColumn(column, near));
  drawLines(near);
}

function drawColumn(column, near) {
  const { list, shown } = column;
  list.firstChild.style.height = `${shown.length * ROW}px`;
  column.first = Math.max(Math.floor(list.scrollTop / ROW) - 4, 0);
  const rows = shown.slice(column.first, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  const elements = rows.map((item, index) => drawRow(item, column.first + index, near));
  const { children } = list.firstChild;
  // A row that is taken out and put back between press and release would lose the click.
  if (elements.length !== children.length || elements.some((element, index) => element !== children[index])) {
    list.firstChild.replaceChildren(...elements);
  }
  const drawn = rows.includes(column.active);
  if (drawn) list.setAttribute("aria-activedescendant", column.active.id);
  else list.removeAttribute("aria-activedescendant");
}

function drawRow(item, position, near) {
  item.element ??= make("div", { className: "row", id: item.id, role: "option" }, ...contents(item));
  const { element, column } = item;
  element.item = item;
  element.style.top = `${position * ROW}px`;
  element.classList.toggle("related", near.has(item));
  element.classList.toggle("chosen", item === chosen);
  element.classList.toggle("active", item === column.active);
  element.setAttribute("aria-selected", item === chosen);
  element.setAttribute("aria-posinset", position + 1);
  element.setAttribute("aria-setsize", column.shown.length);
  return element;
}

function contents(item) {
  const { row, title } = item;
  const [status, words] = [hostWords, vmWords, diskWords, systemWords][item.column.place](item);
  const drift = row.drift?.length ?? driftWithin(item);
  const badge = drift ? make("span", { className: "badge warn", title: "drift" }, `≠ ${drift}`) : "";
  const dot = make("i", { className: `dot ${tone(status)}` });
  return [dot, make("b", { title }, title), badge, make("small", {}, words)];
}

/** Of a host its VMs and disks; of storage its disks alone, because a stopped VM does not use it. */
const driftWithin = (item) => (item.column.place === 0 ? [1, 2] : [2])
  .flatMap((place) => related(item, place)).filter((other) => other.row.drift.length).length;

function hostWords(item) {
  const { status } = item.row;
  const words = [status === "answers" ? "" : status, plural(related(item, 1).length, "VM"), errorWords(item.row)];
  return [status, words.filter(Boolean).join(" · ")];
}

const errorWords = (host) => host.errors.length ? plural(host.errors.length, "error") : "";

function vmWords({ row }) {
  return [row.status, [row.host, row.status, ...row.drift].join(" · ")];
}

function diskWords(item) {
  const { row } = item;
  const vm = related(item, 1)[0].row;
  const failure = row.io_status && row.io_status !== "ok" ? row.io_status : "";
  const errors = row.io?.errors ? plural(row.io.errors, "error") : "";
  const size = sizeOf(row) ? human(sizeOf(row)) : "";
  const words = [failure || errors, ...row.drift, size, row.backend && `${row.backend} ${row.storage}`, row.host];
  return [inTrouble(row) ? "failed" : vm.status, words.filter(Boolean).join(" · ")];
}

function systemWords(item) {
  const disks = disksOf(item);
  const status = disks.some(inTrouble) ? "failed" : disks.some((disk) => disk.io) ? "answers" : "unknown";
  return [status, [plural(disks.length, "disk"), room(disks)].filter(Boolean).join(" · ")];
}

function drawLines(near) {
  const frame = map.getBoundingClientRect();
  const places = columns.map((column) => inView(column, frame));
  const lines = [];
  for (let place = 1; place < columns.length; place++) {
    // A disk knows one VM and one storage, and a VM one host: each line has one end of which that is true.
    for (const item of places[Math.min(place, 2)].keys()) {
      const ends = item.chains[0].items.slice(place - 1, place + 1);
      const [from, to] = ends.map((end, index) => places[place - 1 + index].get(end));
      if (from && to) lines.push([from, to, ends.every((end) => near.has(end))]);
    }
  }
  lines.sort((one, other) => one[2] - other[2]);
  map.querySelector("svg").replaceChildren(...lines.map(line));
}

/** Where the rows of a column are that are seen whole. */
function inView({ list, shown, first }, frame) {
  const { left, right, top, height } = list.getBoundingClientRect();
  const places = new Map();
  for (let position = first; position < shown.length; position++) {
    const middle = (position + 0.5) * ROW - list.scrollTop;
    if (middle > height) break;
    const place = { left: left - frame.left, right: right - frame.left, y: top - frame.top + middle };
    if (middle > 0) places.set(shown[position], place);
  }
  return places;
}

function line([from, to, strong]) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const middle = (from.right + to.left) / 2;
  path.setAttribute("d", `M${from.right},${from.y}C${middle},${from.y} ${middle},${to.y} ${to.left},${to.y}`);
  path.classList.toggle("related", strong);
  return path;
}

let drawing = 0;
function drawSoon() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(draw);
}
