// Comfort for the filter menus: they close on Escape and on a click elsewhere. The
// pages work without this.
"use strict";
{
  const opened = () => document.querySelectorAll("details.dja-filter[open]");

  document.addEventListener("click", (event) => {
    for (const menu of opened()) {
      if (!menu.contains(event.target)) {
        menu.open = false;
      }
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") {
      return;
    }
    for (const menu of opened()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}
