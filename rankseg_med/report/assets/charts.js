"use strict";

const BINS = 20;

/* Histogram of the numbers of a column, drawn as SVG. */
function histogram(column, values) {
  const [width, height, below] = [256, 110, 16];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const counts = new Array(BINS).fill(0);
  const span = high - low || 1;
  for (const value of values) counts[Math.min(BINS - 1, Math.floor(((value - low) / span) * BINS))] += 1;
  const most = Math.max(...counts);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + below}`, role: "img" });
  picture.append(svg("title", {}, `${column.heading}: ${values.length} studies`));
  counts.forEach((count, bin) => {
    const tall = (count / most) * height;
    const from = (low + (bin / BINS) * span).toFixed(column.digits);
    const to = (low + ((bin + 1) / BINS) * span).toFixed(column.digits);
    const place = { x: (bin * width) / BINS, y: height - tall, width: width / BINS - 1, height: tall, class: "bar" };
    const bar = svg("rect", place);
    bar.append(svg("title", {}, `${from} to ${to}: ${count}`));
    picture.append(bar);
  });
  picture.append(svg("text", { x: 0, y: height + below - 3, class: "axis" }, low.toFixed(column.digits)));
  const end = { x: width, y: height + below - 3, class: "axis", "text-anchor": "end" };
  picture.append(svg("text", end, high.toFixed(column.digits)));
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const caption = `${column.heading}: median ${median.toFixed(column.digits)} of ${values.length}`;
  return element("figure", {}, picture, element("figcaption", {}, caption));
}

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
