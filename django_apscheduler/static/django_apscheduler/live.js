// Open pages keep themselves up to date: they ask every 2 s at first and every 30 s at
// last, not while the tab is hidden, and say what changed where screen readers hear it.
// Rows never move by themselves. The pages work without this.
"use strict";
{
  const SOONEST = 2000;
  const LATEST = 30000;
  const RARELY = "rarely";

  // Calls ask() again and again; it answers whether something changed, RARELY when it is
  // enough to ask now and then, or null to stop.
  const repeat = (ask) => {
    let wait = SOONEST;
    let timer = 0;
    let stopped = false;

    const next = () => {
      clearTimeout(timer);
      if (!stopped && !document.hidden) {
        timer = setTimeout(step, wait);
      }
    };

    const step = async () => {
      let changed = false;
      try {
        changed = await ask();
      } catch {
        // The network, or the server, is away for a while: ask again later.
        changed = false;
      }
      stopped = changed === null;
      if (changed === RARELY) {
        wait = LATEST;
      } else {
        wait = changed ? SOONEST : Math.min(wait * 1.5, LATEST);
      }
      next();
    };

    document.addEventListener("visibilitychange", () => {
      wait = SOONEST;
      next();
    });
    next();
  };

  // "no-cache" has the browser send the ETag it knows; a 304 comes back as the answer it
  // has kept.
  const get = (address) =>
    fetch(address, { cache: "no-cache", credentials: "same-origin" });

  // Signed out, or no longer permitted: asking again would change nothing.
  const refused = (response) =>
    response.redirected || (response.status >= 400 && response.status < 500);

  const put = (element, html) => {
    const parsed = new DOMParser().parseFromString(html, "text/html").body;
    element.replaceChildren(...parsed.childNodes);
  };

  // The list: new runs are announced with a link, runs under way change in their place.
  const watchList = (region) => {
    const link = region.querySelector("a");
    const address = region.dataset.watch;
    const shown = new Map();
    let done = false;

    const update = (pk, columns) => {
      const row = document.querySelector(`[data-run="${pk}"]`)?.closest("tr");
      if (!row) {
        return;
      }
      for (const [name, html] of Object.entries(columns)) {
        const cell = row.querySelector(`.field-${name}`);
        if (cell) {
          put(cell.querySelector(":scope > a") ?? cell, html);
        }
      }
    };

    repeat(async () => {
      const running = [...document.querySelectorAll("[data-run]")].map(
        (mark) => mark.dataset.run,
      );
      const asksForNew = /[?&]after=/.test(address);
      if (running.length === 0 && (done || !asksForNew)) {
        return null;
      }
      const joint = address.includes("?") ? "&" : "?";
      const response = await get(`${address}${joint}runs=${running.join(",")}`);
      if (refused(response)) {
        return null;
      }
      if (!response.ok) {
        return false;
      }
      const answer = await response.json();
      let changed = false;
      if (answer.said && link.textContent !== answer.said) {
        link.textContent = answer.said;
        link.hidden = false;
        changed = true;
      }
      done = answer.said.includes("+");
      for (const [pk, columns] of Object.entries(answer.runs)) {
        const text = JSON.stringify(columns);
        if (shown.get(pk) !== text) {
          shown.set(pk, text);
          update(pk, columns);
          changed = true;
        }
      }
      return changed;
    });
  };

  // The page of one run: its fields are fetched anew when it has moved on.
  const watchRun = (region) => {
    const said = region.querySelector(".dja-said");
    const until = Number(region.dataset.seconds);
    const begun = Date.now();
    let mark = region.dataset.mark;

    const fetchFields = async () => {
      const response = await get(location.href);
      if (!response.ok || response.redirected) {
        return false;
      }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const selector of ["#dja-execution", ".dja-levers"]) {
        const now = page.querySelector(selector);
        const before = document.querySelector(selector);
        if (before && now) {
          before.replaceChildren(...now.childNodes);
        } else if (before) {
          before.remove();
        } else if (now) {
          document.querySelector("#content-main")?.before(now);
        }
      }
      return true;
    };

    repeat(async () => {
      // The result is not waited for any longer, but it may still come.
      const nothing = until && Date.now() - begun > until * 1000 ? RARELY : false;
      if (nothing === RARELY) {
        said.textContent = region.dataset.waiting;
      }
      const response = await get(region.dataset.state);
      if (refused(response)) {
        return null;
      }
      if (!response.ok) {
        return nothing;
      }
      const state = await response.json();
      const soFar = document.querySelector("#dja-execution [data-so-far]");
      if (soFar && state.so_far) {
        soFar.textContent = state.so_far;
      }
      if (state.mark === mark) {
        return nothing;
      }
      if (!(await fetchFields())) {
        return nothing;
      }
      mark = state.mark;
      said.textContent = state.said;
      if (state.final) {
        region.querySelector("a")?.remove();
        return null;
      }
      return true;
    });
  };

  // Ids of jobs, completed by the server while they are typed.
  const complete = (input) => {
    let timer = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const term = input.value;
        const query = `${input.dataset.completions}?term=${encodeURIComponent(term)}`;
        let answer;
        try {
          const response = await get(query);
          if (!response.ok) {
            return;
          }
          answer = await response.json();
        } catch {
          return;
        }
        if (input.value !== term) {
          return;
        }
        input.list.replaceChildren(
          ...answer.jobs.map((job) => {
            const option = document.createElement("option");
            option.value = job.id;
            option.label = job.name;
            return option;
          }),
        );
      }, 250);
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-watch]").forEach(watchList);
    document.querySelectorAll("[data-state]").forEach(watchRun);
    document.querySelectorAll("input[data-completions]").forEach(complete);
  });
}
