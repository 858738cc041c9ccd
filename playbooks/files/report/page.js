// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";

const fleet = JSON.parse(document.getElementById("fleet").textContent);
const filters = document.getElementById("filters");
const map = document.getElementById("map");
const details = document.getElementById("details");
const ROW = 46; // as in the style: equal heights let a list of any length draw no more rows than are seen
const WRITTEN = fleet.written.replace("T", " ").replace("+00:00", " UTC");
const TONES = {
  good: ["answers", "running"],
  idle: ["stopped", "unknown"],
  bad: ["unreachable", "failed", "io-error", "internal-error", "guest-panicked"],
};

// --- words ----------------------------------------------------------------------------------------------------------

const tone = (status) => Object.keys(TONES).find((name) => TONES[name].includes(status)) ?? "warn";
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const sum = (rows, value) => rows.reduce((total, row) => total + (value(row) || 0), 0);
const distinct = (values) => [...new Set(values)];
const sizeOf = (disk) => disk.actual || disk.size;
const inTrouble = (disk) => disk.io_status && disk.io_status !== "ok" || disk.io?.errors > 0;

function human(bytes) {
  if (!bytes) return "0 B";
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), 6);
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][power]}`;
}

/** What disks take, and of how many of them that is known. */
function room(disks) {
  const known = disks.filter(sizeOf);
  const some = known.length < disks.length ? ` in ${known.length.toLocaleString("en")} of them` : "";
  return known.length ? human(sum(known, sizeOf)) + some : "";
}

/** An element; a child that is no element becomes text, so that no name in the fleet is ever read as HTML. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// --- the fleet as items in four columns, and as chains of items that belong together --------------------------------

const columns = ["Hosts", "Machines", "Disks", "Storage"].map((title, place) =>
  ({ title, place, items: [], shown: [], active: null }));
const chains = [];

function add(place, row, title) {
  const column = columns[place];
  const item = { column, row, title, chains: [], id: `item-${place}-${column.items.length}`, text: "" };
  column.items.push(item);
  return item;
}

function chain(...items) {
  const one = { items, drift: new Set(items.flatMap((item) => item.row.drift ?? [])) };
  one.text = items.map((item) => item.text).join("\n");
  items.forEach((item) => item.chains.push(one));
  chains.push(one);
}

function readFleet() {
  const hosts = new Map(), vms = new Map(), systems = new Map();
  const key = (...parts) => JSON.stringify(parts);
  const say = (item, ...words) => { item.text = words.filter(Boolean).join(" ").toLowerCase(); };
  for (const row of fleet.hosts) {
    const item = add(0, row, row.host);
    say(item, row.host, row.status, row.problem);
    hosts.set(row.host, item);
  }
  for (const row of fleet.vms) {
    const item = add(1, row, row.vm);
    say(item, row.vm, row.status, row.declared, ...row.drift, ...row.opens);
    vms.set(key(row.host, row.vm), item);
  }
  for (const row of fleet.disks) {
    const item = add(2, row, `${row.vm} / ${row.disk}`);
    const { vm, disk, backend, storage, pool, format, drift } = row;
    say(item, vm, disk, backend, storage, pool, format, ...drift, inTrouble(row) && "errors");
    if (row.system && !systems.has(row.system)) {
      systems.set(row.system, add(3, { backend: row.backend }, row.system));
      say(systems.get(row.system), row.system);
    }
    const ends = row.system ? [systems.get(row.system)] : [];
    chain(hosts.get(row.host), vms.get(key(row.host, row.vm)), item, ...ends);
  }
  for (const item of vms.values()) if (!item.chains.length) chain(hosts.get(item.row.host), item);
  for (const item of hosts.values()) if (!item.chains.length) chain(item);
  columns[3].items.sort((one, other) => other.chains.length - one.chains.length);
}

const related = (item, place) => distinct(item.chains.flatMap((one) => one.items.slice(place, place + 1)));
const disksOf = (item) => related(item, 2).map((disk) => disk.row);

// --- what is shown --------------------------------------------------------------------------------------------------

let chosen = null; // only what belongs to it is shown
let hovered = null;
let current = null; // what the details are about

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
  const passing = chains.filter((one) => passes(one, wanted));
  const all = new Set(passing.flatMap((one) => one.items));
  const narrow = chosen && new Set(passing.filter((one) => one.items.includes(chosen)).flatMap((one) => one.items));
  for (const column of columns) {
    const allowed = narrow && column !== chosen.column ? narrow : all;
    column.shown = column.items.filter((item) => allowed.has(item));
    column.count.textContent = column.shown.length.toLocaleString("en");
    if (!column.shown.includes(column.active)) activate(column, column.shown[0] ?? null);
  }
  const counts = ["host", "machine", "disk"].map((word, place) => plural(columns[place].shown.length, word));
  const narrowed = chosen ? ` · only what belongs to ${chosen.title}` : "";
  document.getElementById("found").textContent = `${WRITTEN} · ${counts.join(", ")}${narrowed}`;
  draw();
}

// --- drawing: the rows that are in view, and lines between those that belong together -------------------------------

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

/** Of a host its machines and disks; of storage its disks alone, because a machine that is stopped is none of its. */
const driftWithin = (item) => (item.column.place === 0 ? [1, 2] : [2])
  .flatMap((place) => related(item, place)).filter((other) => other.row.drift.length).length;

function hostWords(item) {
  const { status } = item.row;
  const words = [status === "answers" ? "" : status, plural(related(item, 1).length, "machine"), errorWords(item.row)];
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
    // A disk knows one machine and one storage, and a machine one host: each line has one end of which that is true.
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

// --- details --------------------------------------------------------------------------------------------------------

function show(item) {
  current = item;
  const parts = item ? [overHost, overVm, overDisk, overSystem][item.column.place](item) : overAll();
  details.replaceChildren(make("h2", {}, item?.title ?? "Overview"), ...parts.flat().filter((part) => part !== null));
  details.scrollTop = 0;
  draw();
}

const note = (kind, text) => make("p", { className: `note ${kind}` }, make("span", {}, text));
const heading = (text) => make("h3", {}, text);

function facts(...pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
}

function table(titles, rows) {
  const cells = (tag, values) => make("tr", {}, ...values.map((value) => make(tag, {}, value)));
  const body = make("tbody", {}, ...rows.map((row) => cells("td", row)));
  return make("table", {}, make("thead", {}, cells("th", titles)), body);
}

const driftNotes = (row) => row.drift.map((kind) => note("warn", `≠ ${kind}: ${fleet.drift[kind]}`));

/** Buttons that lead to what belongs to an item; where there are many, its columns show them better. */
function links(item) {
  const others = columns.filter((column) => column !== item.column).map(({ place }) => related(item, place));
  return make("nav", { ariaLabel: "Related" }, ...others.filter((some) => some.length <= 12).flat().map((other) =>
    make("button", { type: "button", onclick: () => visit(other) }, other.title)));
}

function ioTable(disks) {
  const seen = disks.filter((disk) => disk.io);
  if (!seen.length) return null;
  const total = (name) => sum(seen, (disk) => disk.io[name]);
  return [heading("I/O since the start"), table(["", "requests", "bytes"], [
    ["read", total("reads").toLocaleString("en"), human(total("read_bytes"))],
    ["written", total("writes").toLocaleString("en"), human(total("written_bytes"))],
    ["errors", total("errors").toLocaleString("en"), ""],
  ])];
}

function overHost(item) {
  const { row } = item;
  return [
    row.problem ? note("bad", row.problem) : null,
    facts(["Status", row.status], ["Machines", related(item, 1).length], ["Disks", disksOf(item).length],
      ["Size", room(disksOf(item))]),
    links(item),
    ioTable(disksOf(item)),
    row.errors.length ? heading("Errors in its declarations") : null,
    ...row.errors.map((error) => note("bad", error)),
  ];
}

function overVm(item) {
  const { row } = item;
  const boot = { true: "starts", false: "does not start" }[row.enabled];
  return [
    row.problem ? note("bad", row.problem) : null,
    ...driftNotes(row),
    facts(["Host", row.host], ["Status", row.status], ["Declared", row.declared],
      ["Memory", row.memory && human(row.memory)], ["CPUs", row.cpus], ["At boot", boot],
      ["Disks", disksOf(item).length], ["Size", room(disksOf(item))], ["Opens", row.opens.join(", ")]),
    links(item),
    ioTable(disksOf(item)),
  ];
}

const IO_FAILURES = { failed: "Its last request failed.", nospace: "No space is left on its storage." };

function overDisk(item) {
  const { row } = item;
  const { io_status: status, io } = row;
  return [
    status && status !== "ok" ? note("bad", IO_FAILURES[status] ?? status) : null,
    io?.errors ? note("bad", `${plural(io.errors, "request")} failed.`) : null,
    ...driftNotes(row),
    facts(["Storage", row.backend && `${row.backend} ${row.storage}`], ["On", row.system], ["Pool", row.pool],
      ["Format", row.format], ["Writes", row.writes], ["Route", row.route], ["Size", row.actual && human(row.actual)],
      ["Declared size", row.size && human(row.size)], ["Made from", row.source], ["I/O status", status]),
    links(item),
    ioTable([row]),
  ];
}

function overSystem(item) {
  const disks = disksOf(item);
  const pools = distinct(disks.map((disk) => disk.pool)).sort();
  return [
    facts(["Backend", item.row.backend], ["Hosts", related(item, 0).length], ["Machines", related(item, 1).length],
      ["Disks", disks.length], ["Size", room(disks)]),
    links(item),
    ioTable(disks),
    heading("Pools"),
    table(["pool", "disks", "size"], pools.slice(0, 50).map((pool) => {
      const within = disks.filter((disk) => disk.pool === pool);
      return [pool, within.length.toLocaleString("en"), room(within)];
    })),
    pools.length > 50 ? make("p", { className: "quiet" }, `and ${pools.length - 50} more`) : null,
  ];
}

function overAll() {
  const away = fleet.hosts.filter((host) => host.status !== "answers");
  const wrong = fleet.hosts.flatMap((host) => host.errors);
  const drift = fleet.vms.concat(fleet.disks).flatMap((row) => row.drift);
  return [
    away.map((host) => note("bad", [host.host, host.status, host.problem].filter(Boolean).join(": "))),
    wrong.length ? note("bad", `${plural(wrong.length, "error")} in the declarations; plan.yml lists them.`) : null,
    heading("State of machines"), choices("state", fleet.vms.map((vm) => vm.status)),
    heading("Drift"), drift.length ? choices("drift", drift) : make("p", {}, "None seen."),
    heading("Disks"), backendTable(),
    ioTable(fleet.disks),
  ];
}

/** Each value and how often it is there, the most frequent first. */
function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]);
}

/** Buttons that set a filter. */
function choices(name, values) {
  return make("nav", { ariaLabel: name }, ...counted(values).map(([value, count]) =>
    make("button", { type: "button", onclick: () => choose(name, value) }, `${value} ${count.toLocaleString("en")}`)));
}

function backendTable() {
  const known = fleet.disks.filter((disk) => disk.backend);
  const counts = counted(known.map((disk) => disk.backend));
  return table(["backend", "disks", "size", ""], counts.map(([backend, count]) => [
    backend,
    count.toLocaleString("en"),
    room(known.filter((disk) => disk.backend === backend)),
    make("meter", { max: known.length, value: count, ariaLabel: `${backend}, part of all disks` }),
  ]));
}

// --- what people do -------------------------------------------------------------------------------------------------

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
    pin(null);
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

// --- the page -------------------------------------------------------------------------------------------------------

function makeColumns() {
  for (const column of columns) {
    const title = make("h2", { id: `title-${column.place}` }, column.title);
    column.count = title.appendChild(make("span"));
    const rows = make("div", { role: "presentation" });
    column.list = make("div", { className: "list", tabIndex: 0, role: "listbox" }, rows);
    column.list.setAttribute("aria-labelledby", title.id);
    column.list.addEventListener("keydown", (event) => onListKey(event, column));
    column.list.addEventListener("scroll", drawSoon, { passive: true });
    column.list.addEventListener("focus", () => onFocus(column));
    column.list.addEventListener("pointerover", (event) => hover(event.target.closest(".row")?.item ?? null));
    column.list.addEventListener("pointerleave", () => hover(null));
    column.list.addEventListener("click", (event) => {
      const item = event.target.closest(".row")?.item;
      if (!item) return;
      visit(item);
      pin(item === chosen ? null : item);
    });
    map.append(make("section", { className: "column" }, title, column.list));
  }
}

function onFocus({ list, active }) {
  // Of a press with the pointer the click decides: rows that moved now would be missed by it.
  if (active && active !== current && list.matches(":focus-visible")) visit(active);
}

function hover(item) {
  if (item === hovered) return;
  hovered = item;
  drawSoon();
}

function fillFilters() {
  const options = (name, all, values) => filters.elements[name].replaceChildren(
    make("option", { value: "" }, all), ...distinct(values).sort().map((value) => make("option", { value }, value)));
  options("host", "all", fleet.hosts.map((row) => row.host));
  options("backend", "all", fleet.disks.map((row) => row.backend).filter(Boolean));
  options("state", "all", fleet.vms.map((row) => row.status));
  options("drift", "all", [...fleet.vms, ...fleet.disks].flatMap((row) => row.drift));
  filters.elements.drift.options[0].after(make("option", { value: "any" }, "any"));
}

function useTheme(theme) {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  if (theme) document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = dark ? "Light" : "Dark";
  button.onclick = () => {
    const other = dark ? "light" : "dark";
    try { localStorage.setItem("theme", other); } catch { /* a browser may keep nothing for files */ }
    useTheme(other);
  };
}

function savedTheme() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

readFleet();
useTheme(savedTheme());
makeColumns();
fillFilters();
filters.addEventListener("input", filter);
filters.addEventListener("reset", () => setTimeout(() => pin(null)));
filters.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", onKey);
new ResizeObserver(drawSoon).observe(map);
filter();
show(null);
requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("rendered"))); // the first frame is out
