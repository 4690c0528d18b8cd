// Comfort for the form of a job: the preview follows what is typed, an expression and
// the cron fields follow each other, and triggers are added without a new page. Without
// this the buttons of the form do all of it.
"use strict";
{
  const WAIT = 350;
  const form = document.querySelector("#djangojob_form");
  const region = document.querySelector("#dja-preview");
  let timer = null;
  let asked = null;

  const editor = () => form.querySelector(".dja-editor");

  const fill = (values) => {
    for (const [id, text] of Object.entries(values)) {
      const box = document.getElementById(id);
      if (box && box.value !== text) {
        box.value = text;
      }
    }
  };

  // What a field means that is left empty depends on the others.
  const explain = (meanings) => {
    for (const [id, text] of Object.entries(meanings)) {
      const box = document.getElementById(id);
      if (box) {
        box.placeholder = text;
      }
    }
  };

  const preview = async () => {
    clearTimeout(timer);
    if (asked) {
      asked.abort();
    }
    asked = new AbortController();
    const sent = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (/^(trigger-.*|base|csrfmiddlewaretoken)$/.test(name)) {
        sent.append(name, value);
      }
    }
    region.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(region.dataset.address, {
        method: "POST",
        body: sent,
        signal: asked.signal,
        headers: { Accept: "application/json" },
      });
      if (answer.ok) {
        const told = await answer.json();
        region.innerHTML = told.html;
        fill(told.cron);
        explain(told.meant);
      }
    } catch (error) {
      if (error.name === "AbortError") {
        return;
      }
      // No connection: the page keeps what it shows, and the button still works.
    }
    region.removeAttribute("aria-busy");
  };

  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(preview, WAIT);
  };

  // A field that is typed into no longer is what the expression says.
  const emptyExpression = (box) => {
    const own = /^(.*-cron-)(minute|hour|day|month|day_of_week|second|week|year|day_or)$/;
    const match = own.exec(box.name || "");
    if (match) {
      form.elements[`${match[1]}expression`].value = "";
    }
  };

  const restructure = async (button) => {
    const sent = new URLSearchParams(new FormData(form));
    sent.append(button.name, button.value);
    const answer = await fetch(form.action, { method: "POST", body: sent });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector(".dja-editor");
    if (!fresh) {
      throw new Error("no editor in the answer");
    }
    const place = button.closest(".dja-editor").id;
    const before = editor().querySelectorAll(".dja-nested").length;
    editor().replaceWith(document.adoptNode(fresh));
    const nested = document.getElementById(place);
    const last = nested && [...nested.querySelectorAll(".dja-nested")].pop();
    const grown = editor().querySelectorAll(".dja-nested").length > before;
    const goal = (grown && last) || nested || editor();
    goal.querySelector("input[type=radio]:checked, input[type=radio]").focus();
    if (!grown) {
      // A new one is still empty, and that is nothing to complain of.
      preview();
    }
  };

  // The admin's own script puts the focus into the first field of a new object.
  window.addEventListener("load", () => {
    const summary = document.querySelector("#dja-summary");
    if (summary) {
      summary.focus();
    }
  });

  if (form && region && editor()) {
    form.addEventListener("input", (event) => {
      if (event.target.closest(".dja-editor")) {
        emptyExpression(event.target);
        soon();
      }
    });

    form.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) {
        return;
      }
      if (button.name === "_preview") {
        event.preventDefault();
        preview();
      } else if (/^trigger(-\d+)*-(add|remove)$/.test(button.name)) {
        event.preventDefault();
        restructure(button).catch(() => {
          // The long way round: the server answers with a page.
          const plain = document.createElement("input");
          plain.type = "hidden";
          plain.name = button.name;
          plain.value = button.value;
          form.append(plain);
          form.submit();
        });
      }
    });
  }
}
