// Makes the pages pleasant; all of them work without it.
"use strict";

// "/" goes to the search, "a" selects all, j and k walk through the list.
document.addEventListener("keydown", (e) => {
  if (e.target.closest("input, textarea, select") || e.ctrlKey || e.metaKey || e.altKey) return;
  const links = [...document.querySelectorAll(".list a.title")];
  const at = links.indexOf(document.activeElement);
  if (e.key === "/") {
    document.querySelector("input[type=search]")?.focus();
  } else if (e.key === "j" && links.length) {
    links[Math.min(at + 1, links.length - 1)].focus();
  } else if (e.key === "k" && links.length) {
    links[Math.max(at - 1, 0)].focus();
  } else if (e.key === "a") {
    document.querySelector("[data-all]")?.click();
  } else {
    return;
  }
  e.preventDefault();
});

// one box for all of a list
document.addEventListener("change", (e) => {
  if (e.target.matches("[data-all]")) {
    document.querySelectorAll("input[name=id]").forEach((box) => { box.checked = e.target.checked; });
  }
});

// what can't be undone is asked once more
document.addEventListener("submit", (e) => {
  const ask = e.submitter?.dataset.ask;
  if (ask && !window.confirm(ask)) e.preventDefault();
});

// a page that says so is fetched again, and only its changing part put in place
const fresh = document.querySelector("[data-refresh]");
if (fresh) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.querySelector("[data-refresh]");
      const now = document.querySelector("[data-refresh]");
      if (next && now && !now.contains(document.activeElement)) now.replaceWith(next);
    } catch { /* the next time */ }
  }, 1000 * Number(fresh.dataset.refresh));
}
