// The picture browser. Every text of a run reaches the page as text, never as HTML; its data come from xaibench.data(id).
(() => {
  "use strict";
  const root = document.getElementById("browser");
  if (!root) return;
  const PRINTED = 12; // pictures on paper
  const PART = 100; // pictures that a server lists at a time
  const { element } = xaibench;
  const part = (name) => root.querySelector(`.browser-${name}`);
  const tool = (name) => root.querySelector(`[data-do="${name}"]`);
  const [view, status] = [part("view"), part("status")];
  const state = { index: null, shown: [], offset: 0, total: 0, at: 0, scale: 1, x: 0.5, y: 0.5, turn: 0, asked: 0 };

  function drawing(entry, filled) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", `0 0 ${entry.width} ${entry.height}`);
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("preserveAspectRatio", "none");
    if (!filled) svg.setAttribute("class", "line");
    for (const name of filled ? ["fill"] : ["under", "over"]) {
      const path = document.createElementNS(space, "path");
      path.setAttribute("d", entry.outline);
      path.setAttribute("class", name);
      if (filled) path.setAttribute("style", "fill: #fff; fill-rule: evenodd");
      svg.append(path);
    }
    return svg;
  }

  // One picture of the grid: what lies on it, and what stands below it.
  function panel(entry, { title, note = "", alt, layer, picture = entry.picture, control = false, outline = true, why }) {
    const caption = element("figcaption", {}, title);
    if (note) caption.append(element("small", {}, note));
    const figure = element("figure", { className: control ? "control" : "" });
    if (why) figure.append(element("div", { className: "browser-none" }, why), caption);
    else {
      const stage = element("div", { className: "browser-stage", style: `aspect-ratio: ${entry.width} / ${entry.height}` });
      if (picture) stage.append(element("img", { className: "browser-base", src: picture, alt, draggable: false }));
      if (layer) stage.append(element("img", { className: "browser-layer", src: layer, alt: "", draggable: false }));
      if (entry.outline && outline) stage.append(drawing(entry, false));
      figure.append(element("div", { className: `browser-frame${layer ? " mapped" : ""}` }, stage), caption);
    }
    return figure;
  }

  function maskPanel(entry) {
    const figure = panel(entry, { title: "mask", note: entry.mask, picture: "", outline: false });
    const stage = figure.querySelector(".browser-stage");
    stage.setAttribute("role", "img");
    stage.setAttribute("aria-label", `Mask: ${entry.mask}`);
    stage.style.background = "#000";
    stage.append(drawing(entry, true));
    return figure;
  }

  function verdict(detector) {
    if (detector.why) return detector.why;
    const word = { right: "right", wrong: "wrong", none: "not judged" }[detector.right];
    const explained = detector.target ? `; maps explain ${detector.target}` : "";
    return `Called ${detector.verdict} (${word}), P(fake) = ${detector.p_fake}${explained}`;
  }

  function content(entry, listed) {
    const box = document.createDocumentFragment();
    const chosen = listed.reasons.join(", ");
    box.append(element("h3", {}, [entry.sample, chosen].filter(Boolean).join(" · ")));
    if (entry.failed) {
      box.append(element("p", { className: "warn" }, entry.failed));
      return box;
    }
    const columns = Object.entries(listed.columns).filter(([, v]) => v).map(([k, v]) => `${k}: ${v}`).join(", ");
    const only = root.querySelector('[data-filter="explainer"]').value;
    for (const detector of entry.detectors) {
      box.append(element("h4", {}, detector.place));
      const line = element("p", { className: "browser-fact" });
      line.append(element("strong", {}, verdict(detector)), columns ? `. ${columns}` : "");
      const grid = element("div", { className: "browser-grid" });
      grid.append(panel(entry, { title: "picture", note: entry.outline ? "with the mask's edge" : "", alt: entry.alt }));
      if (entry.outline) grid.append(maskPanel(entry));
      const drawn = detector.maps.filter((m) => !only || m.explainer === only);
      const kinds = { explainer: "", control: "control", inverse: "control", reference: "reference" };
      for (const map of drawn) {
        const note = [kinds[map.role], map.words].filter(Boolean).join(": ");
        const control = map.role !== "explainer" && map.explainer !== only;
        grid.append(panel(entry, { title: map.explainer, note, alt: map.alt, layer: map.layer, control, why: map.why }));
      }
      for (const attacked of detector.attacked) {
        const note = [attacked.verdict, attacked.note].filter(Boolean).join("; ");
        grid.append(panel(entry, { title: attacked.title, note, alt: attacked.alt, picture: attacked.picture }));
      }
      box.append(line, grid);
    }
    return box;
  }

  const entryOf = async (listed) => xaibench.data(`browser-entry-${listed.key}`);

  async function show() {
    const turn = ++state.turn;
    const listed = state.shown[state.at];
    for (const [name, off] of [["previous", state.offset + state.at <= 0], ["next", state.offset + state.at >= state.total - 1]]) {
      tool(name).disabled = off;
    }
    if (!listed) {
      view.replaceChildren();
      status.textContent = "No picture passes these filters.";
      return;
    }
    tool("pick").value = String(state.at);
    let entry;
    try {
      entry = await entryOf(listed);
    } catch (error) {
      entry = { sample: listed.sample, failed: error.message };
    }
    if (turn !== state.turn) return; // another picture was asked for meanwhile
    view.replaceChildren(content(entry, listed));
    status.textContent = [`Picture ${state.offset + state.at + 1} of ${state.total}: ${listed.sample}`, ...listed.reasons,
      ...(listed.verdict ? [`called ${listed.verdict}`] : [])].join(", ");
    zoom();
  }

  // What passes the filters, from the index of the page or, of a served page, from the server in parts.
  async function listed(offset) {
    const value = (name) => root.querySelector(`[data-filter="${name}"]`)?.value || "";
    const columns = [...root.querySelectorAll("[data-column]")].filter((s) => s.value);
    if (state.index.served) {
      const asked = { q: value("q"), reason: value("reason"), right: value("right"), offset };
      for (const select of columns) asked[`column.${select.dataset.column}`] = select.value;
      return xaibench.pictures(Object.fromEntries(Object.entries(asked).filter(([, v]) => v !== "")));
    }
    const pictures = state.index.pictures.filter((p) =>
      (!value("q") || p.sample.toLowerCase().includes(value("q").toLowerCase())) &&
      (!value("reason") || p.reasons.includes(value("reason"))) &&
      (!value("right") || p.right.includes(value("right"))) &&
      columns.every((s) => p.columns[s.dataset.column] === s.value));
    return { total: pictures.length, offset: 0, pictures };
  }

  async function load(offset, last = false) {
    const asked = ++state.asked;
    let part;
    try {
      part = await listed(offset);
    } catch (error) {
      status.textContent = error.message;
      return;
    }
    if (asked !== state.asked) return; // other filters were chosen meanwhile
    [state.shown, state.offset, state.total] = [part.pictures, part.offset, part.total];
    const options = state.shown.map((p, i) => element("option", { value: String(i) },
      `${state.offset + i + 1}. ${p.sample} (${[p.verdict, ...p.reasons].filter(Boolean).join(", ")})`));
    tool("pick").replaceChildren(...options);
    state.at = last ? Math.max(0, state.shown.length - 1) : 0;
    show();
  }

  const filter = () => load(0);

  function go(at) {
    const beyond = state.offset + state.shown.length;
    if (at >= state.shown.length && beyond < state.total) load(beyond);
    else if (at < 0 && state.offset > 0) load(Math.max(0, state.offset - PART), true);
    else {
      state.at = Math.max(0, Math.min(state.shown.length - 1, at));
      show();
    }
  }

  /** To the first or the last of all that pass, which a server may list in another part. */
  function ends(place, last = false) {
    const at = place - state.offset;
    if (at >= 0 && at < state.shown.length) go(at);
    else load(place - (place % PART), last);
  }

  // ---- zoom: one place in all pictures ----

  const clamp = (value) => Math.max(0, Math.min(1, value));

  function zoom() {
    root.classList.toggle("zoomed", state.scale > 1);
    for (const stage of view.querySelectorAll(".browser-stage")) {
      stage.style.transformOrigin = `${100 * state.x}% ${100 * state.y}%`;
      stage.style.transform = `scale(${state.scale})`;
    }
  }

  // The place at (px, py) of a frame, in [0, 1], stays where it is.
  function zoomTo(scale, px = 0.5, py = 0.5) {
    const before = state.scale;
    state.scale = Math.max(1, Math.min(16, scale));
    const held = (origin, at) => {
      const place = origin + (at - origin) / before;
      return state.scale === 1 ? 0.5 : clamp((place * state.scale - at) / (state.scale - 1));
    };
    [state.x, state.y] = [held(state.x, px), held(state.y, py)];
    zoom();
  }

  function move(dx, dy) {
    if (state.scale === 1) return;
    state.x = clamp(state.x - dx / (state.scale - 1));
    state.y = clamp(state.y - dy / (state.scale - 1));
    zoom();
  }

  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".browser-frame");
    if (frame && event.button === 0) drag = { frame, x: event.clientX, y: event.clientY, far: false };
  });
  view.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const box = drag.frame.getBoundingClientRect();
    const [dx, dy] = [(event.clientX - drag.x) / box.width, (event.clientY - drag.y) / box.height];
    if (!drag.far && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 4) return;
    [drag.far, drag.x, drag.y] = [true, event.clientX, event.clientY];
    move(dx, dy);
  });
  window.addEventListener("pointerup", (event) => {
    if (drag && !drag.far && view.contains(event.target)) {
      const box = drag.frame.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      zoomTo(event.shiftKey ? state.scale / 2 : state.scale * 2, ...at);
    }
    drag = null;
  });
  window.addEventListener("pointercancel", () => { drag = null; });

  // ---- controls ----

  const flip = (name) => {
    tool(name).checked = !tool(name).checked;
    tool(name).dispatchEvent(new Event("change", { bubbles: true }));
  };
  const actions = {
    previous: () => go(state.at - 1), next: () => go(state.at + 1), in: () => zoomTo(state.scale * 2),
    out: () => zoomTo(state.scale / 2), reset: () => zoomTo(1),
  };
  root.addEventListener("click", (event) => actions[event.target.closest("button")?.dataset.do]?.());
  root.addEventListener("change", (event) => {
    const { target } = event;
    if (target.dataset.filter === "explainer") show();
    else if (target.dataset.filter || target.dataset.column !== undefined) filter();
    else if (target.dataset.do === "pick") go(Number(target.value));
    else if (target.dataset.do === "outline") root.classList.toggle("plain", !target.checked);
    else if (target.dataset.do === "controls") root.classList.toggle("bare", !target.checked);
  });
  root.addEventListener("input", (event) => {
    const { target } = event;
    if (target.dataset.do === "size") root.style.setProperty("--panel", `${target.value}px`);
    else if (target.dataset.do === "opacity") root.style.setProperty("--opacity", target.value);
  });
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

  const keys = {
    ArrowRight: actions.next, ArrowLeft: actions.previous, n: actions.next, p: actions.previous,
    Home: () => ends(0), End: () => ends(state.total - 1, true),
    "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.reset,
    o: () => flip("outline"), c: () => flip("controls"),
  };
  const panned = { ArrowRight: [-0.1, 0], ArrowLeft: [0.1, 0], ArrowDown: [0, -0.1], ArrowUp: [0, 0.1] };
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = event.shiftKey && panned[event.key];
    const action = pan ? () => move(...pan) : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // ---- print: a static grid of the first pictures that pass the filters ----

  async function layPrint() {
    const printed = state.shown.slice(0, PRINTED);
    const parts = [];
    for (const listed of printed) parts.push(element("section", {}, content(await entryOf(listed), listed)));
    const said = `The first ${printed.length} of ${state.total} pictures.`;
    part("print").replaceChildren(element("p", { className: "note" }, said), ...parts);
  }
  window.addEventListener("beforeprint", layPrint);

  state.index = xaibench.data("browser-index");
  root.querySelector('[data-filter="q"]').addEventListener("input", filter);
  filter();
})();
