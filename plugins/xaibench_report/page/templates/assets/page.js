"use strict";
// The parts that every script of the page shares. Data stands in <script type="application/json" id="...">.
var xaibench = (() => {
  const known = new Map();

  /** The data with this id. Callers await it, so that a served page can fetch it. */
  function data(id) {
    if (!known.has(id)) known.set(id, JSON.parse(document.getElementById(id).textContent));
    return known.get(id);
  }

  /** An element with properties and children; texts are text, never HTML. */
  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  return { data, element };
})();
