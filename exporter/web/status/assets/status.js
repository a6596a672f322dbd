// Refreshes the page in place, and says so when the exporter no longer responds. Without this
// script the page reloads itself.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh) || 15;
  const patience = 8; // refreshes that a selection may hold back
  const lost = document.getElementById("lost");
  let held = 0;

  const refresh = async () => {
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), 10000);
    try {
      const answer = await fetch(location.pathname + location.search, {cache: "no-store", signal: giveUp.signal});
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("page")) throw new Error("another server answered");
      show(fresh);
      lost.hidden = true;
    } catch (error) {
      const answered = document.querySelector("#when time").textContent;
      lost.textContent = `The exporter has not responded since ${answered}. What you see below is out of date.`;
      lost.hidden = false;
      document.title = "No response · quant-exporter";
      const icon = document.querySelector("link[rel=icon]");
      icon.href = icon.href.replace(/[a-z]+\.svg$/, "bad.svg");
    } finally {
      clearTimeout(timer);
    }
  };

  // What the reader looks at must not move or close because a row above it came or went.
  const keep = () => {
    const open = [...document.querySelectorAll("details[id]")].map((d) => [d.id, d.open]);
    const scrolled = [...document.querySelectorAll("[tabindex][id]")]
      .map((part) => [part.id, part.scrollTop, part.scrollLeft]);
    const top = (element) => element.getBoundingClientRect().top;
    const rows = [...document.querySelectorAll("#page li[id], #page section[id]")];
    const seen = scrollY > 0 && rows.find((row) => top(row) >= 0);
    const [anchor, height] = seen ? [seen.id, top(seen)] : [null, 0];
    const focus = document.activeElement;
    const near = focus && focus.closest("#page [id]");
    const same = near && [...near.querySelectorAll(focus.tagName)].indexOf(focus);
    return () => {
      for (const [id, was] of open) {
        const details = document.getElementById(id);
        if (details) details.open = was;
      }
      for (const [id, down, right] of scrolled) {
        const part = document.getElementById(id);
        if (part) [part.scrollTop, part.scrollLeft] = [down, right];
      }
      const place = near && document.getElementById(near.id);
      const target = place && (near === focus ? place : place.querySelectorAll(focus.tagName)[same]);
      if (target) target.focus({preventScroll: true});
      const there = anchor && document.getElementById(anchor);
      if (there) scrollBy(0, top(there) - height);
    };
  };

  const show = (fresh) => {
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    // The reader is copying text: keep it, but not for minutes.
    if (String(getSelection()) !== "" && held++ < patience) return;
    held = 0;
    const restore = keep();
    document.getElementById("page").replaceWith(fresh.getElementById("page"));
    document.getElementById("when").replaceWith(fresh.getElementById("when"));
    restore();
  };

  setInterval(() => { if (!document.hidden) refresh(); }, seconds * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
