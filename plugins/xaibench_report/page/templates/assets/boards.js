"use strict";
// Sorting and filtering of the boards. Explainers and controls are sorted apart: controls stay below the rule.
(() => {
  const form = document.getElementById("board-filters");
  if (!form) return;
  const boards = [...document.querySelectorAll("[data-board]")];
  const order = new Map();
  boards.forEach((board) => rowsOf(board).forEach((row, i) => order.set(row, i)));

  function rowsOf(board) {
    return [...board.querySelectorAll("table.board tbody tr")];
  }

  /** The number of a cell, or its text; what is missing comes last. */
  function key(row, column) {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  }

  /** Each press: the better end first, the other end, and the order of the ranks again. */
  function sort(header) {
    const board = header.closest("[data-board]");
    const first = header.dataset.better === "higher" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const next = { none: first, [first]: second, [second]: "none" }[header.getAttribute("aria-sort")];
    board.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", next);
    arrange(board);
  }

  function arrange(board) {
    const header = board.querySelector('th[aria-sort]:not([aria-sort="none"])');
    const sign = header && header.getAttribute("aria-sort") === "descending" ? -1 : 1;
    const rows = rowsOf(board);
    const place = (row) => (row.dataset.role === "explainer" ? 0 : 1);
    rows.sort((a, b) => place(a) - place(b) ||
      (header ? compare(key(a, header.cellIndex), key(b, header.cellIndex), sign) : 0) || order.get(a) - order.get(b));
    rows.forEach((row, i) => row.classList.toggle("rule", i > 0 && place(row) === 1 && place(rows[i - 1]) === 0));
    board.querySelector("table.board tbody").append(...rows);
  }

  /** The cells of one kind of pictures in place of those of all. Ranks and verdicts are of all, and say so. */
  function showPart(board, part) {
    const given = part && xaibench.data("board-parts")[board.dataset.board];
    rowsOf(board).forEach((row) => [...row.cells].slice(1).forEach((cell, column) => {
      cell.whole ??= { nodes: [...cell.childNodes], value: cell.dataset.value };
      if (!part) {
        cell.replaceChildren(...cell.whole.nodes);
        cell.dataset.value = cell.whole.value;
        return;
      }
      const found = (((given || {})[part] || {})[row.dataset.explainer] || [])[column];
      cell.dataset.value = found ? found.value : "";
      cell.replaceChildren(...(found ? [found.text, ...found.below.map((line) => xaibench.element("small", {}, line))] : ["\u2013"]));
    }));
    board.querySelector(".part").hidden = !part;
    board.querySelector(".part").textContent = part ? `Means of the pictures with ${part}. Ranks and verdicts are those of all pictures.` : "";
  }

  let shown = "";
  function filter() {
    const { family, where, part, explainer, controls } = form.elements;
    const wanted = explainer.value.trim().toLowerCase();
    let visible = 0, every = 0;
    boards.forEach((board) => {
      board.hidden = Boolean((family.value && board.dataset.family !== family.value) || (where && where.value && board.dataset.where !== where.value));
      if (part && part.value !== shown) showPart(board, part.value);
      const passes = ({ role, explainer: name }) => (controls.checked || role === "explainer") && name.toLowerCase().includes(wanted);
      board.querySelectorAll("table.methods tbody tr").forEach((row) => (row.hidden = !passes(row.dataset)));
      rowsOf(board).forEach((row) => {
        row.hidden = !passes(row.dataset);
        every += 1;
        visible += !row.hidden && !board.hidden;
      });
      arrange(board);
    });
    shown = part ? part.value : "";
    form.querySelector("output").textContent = `${visible} of ${every} rows in ${boards.filter((b) => !b.hidden).length} of ${boards.length} boards`;
  }

  document.querySelectorAll("table.board th[data-better]").forEach((header) => {
    const button = xaibench.element("button", { type: "button", title: header.title });
    button.append(...header.querySelector(".name").childNodes);
    header.querySelector(".name").replaceWith(button);
    header.removeAttribute("title");
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(header));
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.hidden = false;
  filter();
})();
