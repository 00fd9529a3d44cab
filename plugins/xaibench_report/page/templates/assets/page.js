"use strict";
// The parts that every script of the page shares. Data stands in <script type="application/json" id="...">.
var xaibench = (() => {
  const known = new Map();

  /** The data with this id. A served page gives a promise of what it does not hold. */
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
