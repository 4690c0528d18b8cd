// Comfort for the dashboard, which works without: tooltips on charts for the mouse and
// the arrow keys, and a page that refreshes itself without a jump.
"use strict";
{
  const board = document.getElementById("dja-dashboard");

  // Charts: one tab stop each; arrows go to the neighbour, Enter follows its link.

  const words = new WeakMap();

  function prepare(figure) {
    const chart = figure.querySelector("svg.dja-chart");
    if (!chart) {
      return;
    }
    chart.setAttribute("tabindex", "0");
    for (const mark of chart.querySelectorAll(".dja-datum")) {
      const title = mark.querySelector("title");
      if (title) {
        words.set(mark, title.textContent);
        // Else the browser's own tooltip covers ours.
        title.remove();
      }
    }
    if (!figure.querySelector(".dja-tip")) {
      const tip = document.createElement("div");
      tip.className = "dja-tip";
      tip.setAttribute("role", "status");
      tip.hidden = true;
      figure.append(tip);
    }
  }

  function show(mark) {
    const figure = mark.closest(".dja-figure");
    hide(figure);
    mark.classList.add("dja-at");
    const tip = figure.querySelector(".dja-tip");
    tip.textContent = words.get(mark);
    tip.hidden = false;
    const box = figure.getBoundingClientRect();
    const at = mark.getBoundingClientRect();
    const middle = at.left + Math.min(at.width, 400) / 2 - box.left;
    const left = Math.min(
      Math.max(middle - tip.offsetWidth / 2, 4),
      Math.max(box.width - tip.offsetWidth - 4, 4)
    );
    const above = at.top - box.top - tip.offsetHeight - 6;
    const top = above >= 0 ? above : at.bottom - box.top + 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  }

  function hide(figure) {
    for (const mark of figure.querySelectorAll(".dja-at")) {
      mark.classList.remove("dja-at");
    }
    const tip = figure.querySelector(".dja-tip");
    if (tip) {
      tip.hidden = true;
    }
  }

  function centre(mark) {
    const box = (mark.querySelector(".dja-hit") || mark).getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  }

  const ways = {
    ArrowRight: (from, to) => [to.x - from.x, Math.abs(to.y - from.y)],
    ArrowLeft: (from, to) => [from.x - to.x, Math.abs(to.y - from.y)],
    ArrowDown: (from, to) => [to.y - from.y, Math.abs(to.x - from.x)],
    ArrowUp: (from, to) => [from.y - to.y, Math.abs(to.x - from.x)],
  };

  function neighbour(chart, mark, key) {
    const from = centre(mark);
    let best = null;
    let nearest = Infinity;
    for (const other of chart.querySelectorAll(".dja-datum")) {
      const [ahead, aside] = ways[key](from, centre(other));
      const sideways = key === "ArrowLeft" || key === "ArrowRight";
      // Along a row first; up and down the next row, wherever it is closest.
      const distance = sideways ? ahead + 40 * aside : 40 * ahead + aside;
      if (other !== mark && ahead > 0.5 && distance < nearest) {
        nearest = distance;
        best = other;
      }
    }
    return best;
  }

  board.addEventListener("pointerover", (event) => {
    const mark = event.target.closest(".dja-datum");
    const figure = event.target.closest(".dja-figure");
    if (mark) {
      show(mark);
    } else if (figure) {
      hide(figure);
    }
  });

  board.addEventListener("pointerleave", () => {
    for (const figure of board.querySelectorAll(".dja-figure")) {
      hide(figure);
    }
  });

  board.addEventListener("focusout", (event) => {
    if (event.target.matches("svg.dja-chart")) {
      hide(event.target.closest(".dja-figure"));
    }
  });

  board.addEventListener("keydown", (event) => {
    const chart = event.target.closest("svg.dja-chart");
    if (!chart || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const marks = [...chart.querySelectorAll(".dja-datum")];
    const current = chart.querySelector(".dja-at");
    let next = null;
    if (event.key === "Escape") {
      hide(chart.closest(".dja-figure"));
      return;
    } else if (event.key === "Enter" && current) {
      const link = current.closest("a");
      if (link) {
        window.location.assign(link.getAttribute("href"));
      }
      return;
    } else if (event.key === "Home") {
      next = marks[0];
    } else if (event.key === "End") {
      next = marks[marks.length - 1];
    } else if (event.key in ways) {
      next = current ? neighbour(chart, current, event.key) : marks[0];
    } else {
      return;
    }
    event.preventDefault();
    if (next) {
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
      show(next);
    }
  });

  for (const figure of board.querySelectorAll(".dja-figure")) {
    prepare(figure);
  }

  // Refreshing: parts that changed are replaced, but for the one in use.

  const KEY = "dja-dashboard-refresh";
  const SHORTEST = 15000;
  const LONGEST = 300000;
  const label = board.querySelector("[data-dja-auto]");
  const box = label.querySelector("input");
  const announce = board.querySelector(".dja-announce");
  let timer = null;
  let pause = SHORTEST;
  let busy = false;

  function remembered() {
    try {
      return window.sessionStorage.getItem(KEY) !== "off";
    } catch {
      return true; // Storage may be forbidden; then it is on until switched off.
    }
  }

  function inUse(part) {
    return (
      part.contains(document.activeElement) ||
      part.querySelector("details[open], .dja-at") !== null
    );
  }

  function numbers(root) {
    const found = new Map();
    for (const tile of root.querySelectorAll("[data-dja-tile]")) {
      found.set(tile.dataset.djaTile, tile.querySelector("b").textContent);
    }
    return found;
  }

  function replace(page) {
    const before = numbers(board);
    for (const part of board.querySelectorAll("[data-dja-part]")) {
      const name = part.dataset.djaPart;
      const fresh = page.querySelector(`[data-dja-part="${name}"]`);
      if (!fresh || inUse(part)) {
        continue;
      }
      if (fresh.innerHTML !== part.dataset.djaSeen) {
        const source = fresh.innerHTML;
        const scrolled = [...part.querySelectorAll(".dja-canvas")].map(
          (canvas) => canvas.scrollLeft
        );
        part.replaceChildren(...fresh.childNodes);
        part.querySelectorAll(".dja-canvas").forEach((canvas, n) => {
          canvas.scrollLeft = scrolled[n] || 0;
        });
        prepare(part);
        part.dataset.djaSeen = source;
      }
    }
    const changes = [];
    for (const [name, number] of numbers(board)) {
      if (before.has(name) && before.get(name) !== number) {
        changes.push(`${name} ${number}`);
      }
    }
    if (changes.length) {
      announce.textContent = `${board.dataset.updated} ${changes.join(", ")}`;
    }
  }

  async function refresh() {
    if (busy) {
      return;
    }
    busy = true;
    const began = performance.now();
    try {
      const answer = await fetch(window.location.href, {
        credentials: "same-origin",
        redirect: "error",
      });
      if (!answer.ok) {
        throw new Error(String(answer.status));
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      replace(page);
      // A slow server is asked less often.
      const took = performance.now() - began;
      pause = Math.min(Math.max(SHORTEST, 20 * took), LONGEST);
    } catch {
      announce.textContent = board.dataset.failed;
      pause = Math.min(2 * pause, LONGEST);
    }
    busy = false;
    plan();
  }

  function plan() {
    window.clearTimeout(timer);
    if (box.checked && !document.hidden) {
      timer = window.setTimeout(refresh, pause);
    }
  }

  box.checked = remembered();
  label.hidden = false;
  box.addEventListener("change", () => {
    try {
      window.sessionStorage.setItem(KEY, box.checked ? "on" : "off");
    } catch {
      // Not remembered, then.
    }
    plan();
  });
  document.addEventListener("visibilitychange", () => {
    // Back again: what is seen should be now.
    if (!document.hidden && box.checked) {
      refresh();
    } else {
      plan();
    }
  });
  board.querySelector("[data-dja-refresh]").addEventListener("click", (event) => {
    if (event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      refresh();
    }
  });
  plan();
}
