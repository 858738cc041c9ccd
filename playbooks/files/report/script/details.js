// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// The details of one item, or of the whole fleet.

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
    facts(["Status", row.status], ["VMs", related(item, 1).length], ["Memory", ofHost(item, "memory", human)],
      ["CPUs", ofHost(item, "cpus", String)], ["Disks", disksOf(item).length], ["Size", room(disksOf(item))]),
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
  return [
    facts(["Backend", item.row.backend], ["Hosts", related(item, 0).length], ["VMs", related(item, 1).length],
      ["Disks", disks.length], ["Size", room(disks)]),
    links(item),
    ioTable(disks),
    heading("Pools"), poolTable(disks),
  ];
}

const MOST_ROWS = 50;

/** A table that ends after so many rows, and tells how many more there are. */
function longTable(titles, rows, cells) {
  const more = rows.length - MOST_ROWS;
  const end = more > 0 ? [make("p", { className: "quiet" }, `and ${more.toLocaleString("en")} more`)] : [];
  return [table(titles, rows.slice(0, MOST_ROWS).map(cells)), ...end];
}

/** Pools and what their disks take, the largest first. */
function poolTable(disks) {
  const pools = new Map();
  for (const disk of disks.filter((one) => one.backend)) {
    const name = `${disk.backend} ${disk.pool}`;
    if (!pools.has(name)) pools.set(name, []);
    pools.get(name).push(disk);
  }
  const sorted = [...pools].map(([name, within]) => [name, within, sum(within, sizeOf)]).sort((one, other) => other[2] - one[2]);
  return longTable(["pool", "disks", "size"], sorted, ([name, within]) =>
    [name, within.length.toLocaleString("en"), room(within)]);
}

/** What the VMs of a host that are declared started take of its memory or CPUs. */
const taken = (item, name) => sum(related(item, 1).filter((vm) => vm.row.declared === "started"), (vm) => vm.row[name]);

function ofHost(item, name, words) {
  const used = words(taken(item, name));
  return item.row[name] ? `${used} of ${words(item.row[name])}` : used;
}

/** Hosts and what their VMs take, the fullest first. */
function hostTable() {
  const share = (item, name) => item.row[name] ? taken(item, name) / item.row[name] : 0;
  const sorted = columns[0].items.map((item) => [item, share(item, "memory")]).sort((one, other) => other[1] - one[1]);
  const percent = (value) => value ? `${Math.round(value * 100)} %` : "";
  return longTable(["host", "VMs", "CPUs", "memory"], sorted, ([item, full]) => {
    const memory = make("span", { className: full > 1 ? "warn" : "" }, percent(full));
    return [item.title, related(item, 1).length, percent(share(item, "cpus")), memory];
  });
}

function overAll() {
  const away = fleet.hosts.filter((host) => host.status !== "answers");
  const wrong = fleet.hosts.flatMap((host) => host.errors);
  const drift = fleet.vms.concat(fleet.disks).flatMap((row) => row.drift);
  return [
    away.map((host) => note("bad", [host.host, host.status, host.problem].filter(Boolean).join(": "))),
    wrong.length ? note("bad", `${plural(wrong.length, "error")} in the declarations; plan.yml lists them.`) : null,
    heading("State of VMs"), choices("state", fleet.vms.map((vm) => vm.status)),
    heading("Drift"), drift.length ? choices("drift", drift) : make("p", {}, "None seen."),
    heading("Hosts"), hostTable(),
    heading("Disks"), backendTable(),
    heading("Pools"), poolTable(fleet.disks),
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
