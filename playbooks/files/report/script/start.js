// SPDX-FileCopyrightText: directdisk.qemu contributors
// SPDX-License-Identifier: GPL-3.0-or-later
// The page itself: its columns, filters and theme. It starts here.

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
showWrong();
filters.addEventListener("input", filter);
filters.addEventListener("reset", () => setTimeout(() => only(null)));
filters.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", onKey);
new ResizeObserver(drawSoon).observe(map);
filter();
show(null);
requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("rendered"))); // the first frame is out
