"use strict";
{
  const { names, images, cells } = JSON.parse(document.getElementById("cells").textContent);
  const count = new Map();
  for (let i = 0; i < cells.length; i += 3) count.set(cells[i] * names.length + cells[i + 1], cells[i + 2]);

  const matrix = document.getElementById("matrix");
  const frame = document.getElementById("cell");
  const named = document.getElementById("named");
  const inside = (i) => Math.min(names.length - 1, Math.max(0, i));
  let row = 0, column = 0;

  function show(y, x) {
    row = inside(y);
    column = inside(x);
    const found = count.get(row * names.length + column) ?? 0;
    const said = row === column ? "named rightly" : `taken for ${names[column]}`;
    named.textContent = `${names[row]} ${said}: ${found} of ${images[row]}`;
    frame.hidden = false;
    frame.style.left = `${(100 * column) / names.length}%`;
    frame.style.top = `${(100 * row) / names.length}%`;
    frame.style.width = frame.style.height = `${100 / names.length}%`;
  }

  // A finger covers many cells: it means the fullest within ten pixels.
  function fullest(y, x, reach) {
    let best = [y, x], most = 0;
    for (let i = inside(y - reach); i <= inside(y + reach); i++) {
      for (let j = inside(x - reach); j <= inside(x + reach); j++) {
        const found = count.get(i * names.length + j) ?? 0;
        if (found > most) [best, most] = [[i, j], found];
      }
    }
    return best;
  }

  function point(event) {
    const box = matrix.getBoundingClientRect();
    const at = (place, start, size) => Math.floor(((place - start) / size) * names.length);
    const cell = [at(event.clientY, box.top, box.height), at(event.clientX, box.left, box.width)];
    const reach = event.pointerType === "touch" ? Math.floor((10 / box.width) * names.length) : 0;
    show(...fullest(...cell, reach));
  }

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  matrix.addEventListener("pointermove", point);
  matrix.addEventListener("pointerdown", point);
  matrix.addEventListener("focus", () => show(row, column));
  matrix.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    show(row + steps[event.key][0], column + steps[event.key][1]);
    frame.scrollIntoView({ block: "nearest" });
  });
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
}
