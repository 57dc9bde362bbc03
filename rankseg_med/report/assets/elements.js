"use strict";

/* Elements are made of text alone: whatever a name holds, it can never become markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function heading(text) {
  return element("h2", {}, text);
}

function factList(facts) {
  const entries = facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]);
  return element("dl", { class: "facts" }, ...entries);
}

function textList(texts, kind = "note") {
  return element("ul", { class: kind }, ...texts.map((text) => element("li", {}, text)));
}

function textTable(table) {
  const row = (tag, cells) =>
    element("tr", {}, ...cells.map((cell, i) => element(tag, { class: i < table.numbersFrom ? "" : "number" }, cell)));
  return element(
    "section",
    {},
    heading(table.title),
    element(
      "div",
      { class: "wide" },
      element(
        "table",
        {},
        element("thead", {}, row("th", table.headings)),
        element("tbody", {}, ...table.rows.map((cells) => row("td", cells))),
      ),
    ),
    element("p", { class: "note" }, table.note),
  );
}
