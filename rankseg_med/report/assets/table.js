"use strict";

/* The table of studies: sorted by any column, filtered by text and status. */
class StudyTable {
  constructor(report, open) {
    this.columns = report.columns;
    this.open = open;
    this.key = null;
    this.isDescending = false;
    this.rows = report.studies.map((study) => ({ study, element: this.row(study), text: searched(study) }));
    this.body = element("tbody", {});
    this.count = element("span", { class: "note" });
    this.search = element("input", {
      type: "search",
      placeholder: "part of an id, reason or note",
      "aria-label": "filter",
      oninput: () => this.show(),
    });
    const statuses = [...new Set(report.studies.map((study) => study.status))].sort();
    const options = statuses.map((status) => element("option", { value: status }, status));
    this.status = element(
      "select",
      { "aria-label": "status", onchange: () => this.show() },
      element("option", { value: "" }, "every status"),
      ...options,
    );
    this.headings = [];
    this.element = element(
      "section",
      {},
      heading("Studies"),
      element("div", { class: "filters" }, this.search, this.status, this.count),
      element("div", { class: "wide" }, element("table", { id: "studies" }, this.head(), this.body)),
    );
    this.show();
  }

  head() {
    const columns = [
      ["study", (study) => study.id],
      ["status", (study) => study.status],
      ...this.columns.map((column) => [column.heading, (study) => valueOf(study, column.heading)]),
    ];
    const cells = columns.map(([name, key], i) => {
      const sort = () => this.sortBy(key, cells[i]);
      return element("th", { class: i < 2 ? "" : "number" }, element("button", { type: "button", onclick: sort }, name));
    });
    this.headings = cells;
    return element("thead", {}, element("tr", {}, ...cells));
  }

  row(study) {
    const id = element("button", { type: "button", onclick: () => this.open(study) }, study.id);
    const reason = study.reason ? element("div", { class: "note" }, study.reason) : null;
    return element(
      "tr",
      {},
      element("td", {}, id),
      element("td", { class: study.status }, study.status, reason),
      ...this.columns.map((column) => element("td", { class: "number" }, ...shown(study.values[column.heading], column))),
    );
  }

  sortBy(key, cell) {
    this.isDescending = cell.getAttribute("aria-sort") === "ascending";
    this.headings.forEach((other) => other.removeAttribute("aria-sort"));
    cell.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
    this.key = key;
    this.show();
  }

  show() {
    const words = this.search.value.toLowerCase();
    const wanted = this.rows.filter(
      ({ study, text }) => text.includes(words) && (!this.status.value || study.status === this.status.value),
    );
    if (this.key) wanted.sort((a, b) => compare(this.key(a.study), this.key(b.study), this.isDescending));
    this.body.replaceChildren(...wanted.map((row) => row.element));
    this.count.textContent = `${wanted.length} of ${this.rows.length} studies`;
  }
}

function searched(study) {
  return [study.id, study.status, study.reason, ...study.notes].join("\n").toLowerCase();
}

function valueOf(study, heading) {
  const [value] = study.values[heading] ?? [null];
  return typeof value === "string" ? Number(value.replace("∞", "Infinity")) : value;
}

/* What is not known comes last in either order. */
function compare(a, b, isDescending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b || 0;
  return isDescending ? -order : order;
}

function shown(given, column) {
  const [value, low, high] = given ?? [null];
  if (value === null) return ["–"];
  const digits = (number) => (typeof number === "number" ? number.toFixed(column.digits) : number);
  if (low === undefined || low === null) return [digits(value)];
  return [digits(value), element("small", {}, ` (${digits(low)} to ${digits(high)})`)];
}
