// Refreshes the page in place, and says so when the exporter no longer answers. Without this
// script the page reloads itself.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh) || 15;
  const lost = document.getElementById("lost");
  let answered = new Date();

  const refresh = async () => {
    try {
      const answer = await fetch(location.pathname, {cache: "no-store", signal: AbortSignal.timeout(10000)});
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      answered = new Date();
      lost.hidden = true;
    } catch (error) {
      lost.textContent = `The exporter has not answered since ${answered.toLocaleTimeString()}: ` +
        "what stands below is old.";
      lost.hidden = false;
    }
  };

  const show = (fresh) => {
    const selected = String(getSelection()) !== "";
    if (selected) return; // somebody copies something: do not take it away
    const open = new Map([...document.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
    const focus = document.activeElement;
    const held = focus && focus.closest("[id]") ? focus.closest("[id]").id : null;
    const tag = focus ? focus.tagName : null;
    document.getElementById("page").replaceWith(fresh.getElementById("page"));
    document.getElementById("when").replaceWith(fresh.getElementById("when"));
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    for (const [id, was] of open) {
      const details = document.getElementById(id);
      if (details) details.open = was;
    }
    const place = held && held !== "page" ? document.getElementById(held) : null;
    const target = place && (place.tagName === tag ? place : place.querySelector(tag));
    if (target) target.focus({preventScroll: true});
  };

  setInterval(() => { if (!document.hidden) refresh(); }, seconds * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
