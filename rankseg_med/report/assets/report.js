"use strict";

const MOST_IN_GALLERY = 12;

function showReport() {
  const report = JSON.parse(document.getElementById("facts").textContent);
  const images = JSON.parse(document.getElementById("images").textContent);
  const address = (file) => images[file] ?? `${encodeURIComponent(report.folder)}/${file}`;
  const open = (study) => showStudy(study, report, address);
  const failures = report.studies.filter((study) => study.reason);
  document.getElementById("report").append(
    element("h1", {}, report.title),
    factList(report.summary),
    ...problems(report.problems, failures),
    ...galleries(report, open, address),
    new StudyTable(report, open).element,
    ...report.tables.map(textTable),
    ...distributions(report),
    ...folded("Settings", report.settings),
    ...folded("Versions", report.versions),
    heading("Notes"),
    textList(report.notes),
    heading("Please cite"),
    textList(report.citation),
  );
}

function problems(texts, failures) {
  if (!texts.length && !failures.length) return [];
  const lines = failures.map((study) => `${study.id}: ${study.status}: ${study.reason}`);
  return [heading("What went wrong"), textList([...lines, ...texts], "problem")];
}

function galleries(report, open, address) {
  const by = (key) =>
    report.studies
      .filter((study) => study[key] !== null)
      .sort((a, b) => a[key] - b[key])
      .slice(0, MOST_IN_GALLERY);
  const gallery = (title, key) => {
    const studies = by(key);
    if (!studies.length) return [];
    return [heading(title), element("div", { class: "gallery" }, ...studies.map((study) => card(study, key, open, address)))];
  };
  const worst = gallery("Worst", "score");
  const uncertain = gallery("Least certain", "certainty");
  const note = worst.length || uncertain.length ? [element("p", { class: "note" }, report.ranking)] : [];
  return [...worst, ...uncertain, ...note];
}

function card(study, key, open, address) {
  const [picture] = study.slices;
  const name = element("button", { type: "button", onclick: () => open(study) }, study.id);
  return element(
    "figure",
    {},
    picture ? element("img", { src: address(picture.file), alt: picture.caption, loading: "lazy" }) : null,
    element("figcaption", {}, name, `: ${study[key].toFixed(4)}`),
  );
}

function distributions(report) {
  const charts = report.columns
    .map((column) => [column, report.studies.map((study) => valueOf(study, column.heading)).filter(Number.isFinite)])
    .filter(([, values]) => values.length > 1)
    .map(([column, values]) => histogram(column, values));
  return charts.length ? [heading("Distributions"), element("div", { class: "charts" }, ...charts)] : [];
}

function folded(title, facts) {
  if (!facts.length) return [];
  return [element("details", {}, element("summary", {}, title), factList(facts))];
}

function showStudy(study, report, address) {
  const dialog = document.getElementById("study");
  const viewer = element("div", { id: "viewer" });
  const values = report.columns
    .filter((column) => study.values[column.heading])
    .map((column) => [column.heading, element("span", {}, ...shown(study.values[column.heading], column))]);
  dialog.replaceChildren(
    element("button", { type: "button", class: "close", onclick: () => dialog.close() }, "close"),
    heading(study.id),
    factList([["status", study.status], ...(study.reason ? [["reason", study.reason]] : [])]),
    textList(study.notes),
    element(
      "div",
      { class: "gallery" },
      ...study.slices.map(({ file, caption }) =>
        element("figure", {}, element("img", { src: address(file), alt: caption }), element("figcaption", {}, caption)),
      ),
    ),
    viewer,
    factList([...values, ...study.facts]),
  );
  dialog.onclose = () => closeViewer(viewer);
  dialog.showModal();
  if (study.volumes) showViewer(viewer, report.folder, study.volumes);
}
