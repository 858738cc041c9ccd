// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// The fleet as items in four columns, and as chains of items that belong together.

const columns = ["Hosts", "VMs", "Disks", "Storage"].map((title, place) =>
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
