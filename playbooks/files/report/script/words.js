// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";

// The data of the page, and how its values are put into words.

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
