"use strict";
// Draws every chart: those in sight at once, the others when the browser is idle, so that a print holds all of them.
(() => {
  const WIDTH = 420; // of a chart whose box is not laid out
  const LEGEND = 190; // pixels of a name in a legend
  const MOST_ROWS = 400;
  const boxes = [...document.querySelectorAll("[data-chart]")];
  const font = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";

  async function draw(box) {
    if (box.dataset.drawn) return;
    box.dataset.drawn = "yes";
    const description = box.getAttribute("aria-label");
    const given = await xaibench.data(box.dataset.chart);
    const width = box.clientWidth || WIDTH;
    const legend = { ...given.config.legend, columns: Math.max(1, Math.floor(width / LEGEND)) };
    const spec = { ...given, description, width, config: { ...given.config, font, legend } };
    // ast: expressions are interpreted, since the policy of the page lets no text become code
    await vegaEmbed(box, spec, { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } });
    // Vega writes its own words and role over those of the box
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", description);
    box.removeAttribute("aria-roledescription");
    const svg = box.querySelector("svg");
    svg.setAttribute("aria-hidden", "true");
    svg.style.width = "100%";
    svg.style.height = "auto";
    box.after(values(given));
  }

  /** The values behind a chart, for who does not see or point. */
  function values(spec) {
    const parts = [spec, ...(spec.layer || [])].map((part) => part.data && part.data.values).filter(Boolean);
    const rows = parts.concat(Object.values(spec.datasets || {})).reduce((a, b) => (b.length > a.length ? b : a), []);
    const details = xaibench.element("details", { className: "chart-values" }, xaibench.element("summary", {}, "values"));
    details.addEventListener("toggle", () => details.children.length > 1 || details.append(table(rows)), { once: true });
    return details;
  }

  function table(rows) {
    const { element } = xaibench;
    const names = Object.keys(rows[0] || {});
    const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
    const body = rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, ...names.map((n) => element("td", {}, `${row[n] ?? ""}`))));
    const box = element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "values of the chart");
    return box;
  }

  const idle = window.requestIdleCallback || ((f) => setTimeout(f, 1));
  async function rest(at) {
    if (at < boxes.length) {
      await draw(boxes[at]);
      idle(() => rest(at + 1));
    } else {
      document.documentElement.dataset.charts = "drawn";
    }
  }

  if (window.IntersectionObserver) {
    const watch = new IntersectionObserver((seen) => seen.filter((s) => s.isIntersecting).forEach((s) => draw(s.target)));
    boxes.forEach((box) => watch.observe(box));
  }
  idle(() => rest(0));

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.chart-values)")].filter((part) => part.querySelector("table, .charts"));
    opened.forEach((part) => (part.open = true));
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => (part.open = false)));
})();
