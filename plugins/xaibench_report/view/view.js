// The page as `xaibench view` serves it: data that is not in the page is fetched, and new results are offered.
(() => {
  "use strict";
  const local = xaibench.data;
  const PAUSE = 5000; // milliseconds between two questions
  const IDLE = 30000; // milliseconds after which nobody reads

  async function answer(path) {
    const reply = await fetch(path, { credentials: "omit" });
    if (!reply.ok) throw new Error((await reply.text()).trim());
    return reply.json();
  }

  xaibench.data = (id) => document.getElementById(id) ? local(id) : answer(`data/${encodeURIComponent(id)}`);
  xaibench.pictures = (asked) => answer(`pictures?${new URLSearchParams(asked)}`);

  document.addEventListener("DOMContentLoaded", () => {
    const shown = local("view-state");
    const bar = xaibench.element("p", { className: "view-bar note" });
    bar.setAttribute("role", "status");
    document.querySelector("header").append(bar);

    // A page that is being read is not taken away: the reader decides. One that nobody touched for a while is renewed.
    let touched = Date.now();
    for (const kind of ["pointerdown", "keydown", "wheel", "scroll"]) {
      addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
    }

    function offer() {
      if (Date.now() - touched > IDLE) return location.reload();
      const button = xaibench.element("button", { type: "button", textContent: "Show them" });
      button.addEventListener("click", () => location.reload());
      bar.replaceChildren("The run has new results. ", button);
    }

    async function ask() {
      try {
        const now = await answer("status");
        if (now.trouble) bar.textContent = `The run cannot be read: ${now.trouble}`;
        else if (now.ready && !shown.ready) return location.reload();
        else if (now.ready && now.version !== shown.version) offer();
        else bar.textContent = "";
      } catch {
        bar.textContent = "xaibench view has ended; this page keeps what it shows.";
      }
      setTimeout(ask, PAUSE);
    }
    setTimeout(ask, shown.ready ? PAUSE : 1000);
  });
})();
