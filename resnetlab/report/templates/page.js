"use strict";
// Cells and counts open their images; tables sort by a click or Enter, and can be saved as CSV.
const dialog = document.getElementById("pictures");
const stores = {};

function picturesOf(split) {
  const element = document.getElementById("pictures-" + split);
  if (!(split in stores)) stores[split] = element ? JSON.parse(element.textContent) : null;
  return stores[split];
}

function pictureElement(one) {
  const figure = document.createElement("figure");
  figure.className = "picture" + (one.true === one.predicted ? "" : " mistake");
  const image = document.createElement("img");
  image.src = "data:image/jpeg;base64," + one.jpeg;
  image.alt = one.id;
  image.width = image.height = 72;
  const caption = document.createElement("figcaption");
  caption.textContent = one.id + ", " + Math.round(100 * one.confidence) + " %";
  figure.append(image, caption);
  return figure;
}

function open(button) {
  const store = picturesOf(button.dataset.split);
  const row = Number(button.dataset.true), column = Number(button.dataset.predicted);
  const found = store ? store.pictures.filter((one) => one.true === row && one.predicted === column) : [];
  const classes = store ? store.classes : [];
  const count = button.textContent.trim().split(" ")[0];
  document.getElementById("pictures-title").textContent = store
    ? (row === column ? classes[row] + ", predicted correctly" : classes[row] + " taken for " + classes[column])
      + ": " + found.length + " of " + count
    : "No images are kept in this report";
  const gallery = dialog.querySelector(".gallery");
  gallery.replaceChildren(...found.map(pictureElement));
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-true]");
  if (button) open(button);
  if (event.target === dialog) dialog.close();
});

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text.replace(/,/g, ""));
  return Number.isNaN(number) ? text : number;
}

function sort(table, column, header) {
  const downwards = header.getAttribute("aria-sort") !== "descending";
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const x = valueOf(a, column), y = valueOf(b, column);
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return downwards ? -order : order;
  });
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", downwards ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.className = "sort";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(table, column, header));
    header.replaceChildren(button);
  });
}

// What scrolls sideways can be reached and moved by the keyboard.
function reachable() {
  for (const each of document.querySelectorAll(".scroll, figure")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}
reachable();
addEventListener("resize", reachable);

function asCsv(table) {
  const quoted = (cell) => {
    const small = cell.querySelector("small");
    const text = (small ? cell.textContent.replace(small.textContent, "") : cell.textContent).trim();
    return '"' + (cell.dataset.value ?? text).replace(/"/g, '""') + '"';
  };
  return [...table.rows].map((row) => [...row.cells].map(quoted).join(",")).join("\r\n");
}

for (const table of document.querySelectorAll("table[data-csv]")) {
  const button = document.createElement("button");
  button.className = "link csv";
  button.textContent = "Save this table as CSV";
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", asCsv(table)], { type: "text/csv" }));
    link.download = table.dataset.csv + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  (table.closest(".scroll") ?? table).after(button);
}
