"use strict";

const DEFAULT_OPACITY = 0.5;
const received = new Map();
let wanted = null;

/* Called by the script of a study's volumes, within this page or in a file beside it. */
function receiveVolumes(file, volumes) {
  received.set(file, volumes);
}

function loadVolumes(folder, file) {
  if (received.has(file)) return Promise.resolve(received.get(file));
  return new Promise((resolve, reject) => {
    const address = `${encodeURIComponent(folder)}/${file}`;
    const done = () => {
      script.remove();
      // Only one study's volumes are kept in memory.
      const volumes = received.get(file);
      received.delete(file);
      if (volumes) resolve(volumes);
      else reject(new Error(`${folder}/${file} is damaged`));
    };
    const script = element("script", {
      src: address,
      onload: done,
      onerror: () => reject(new Error(`${folder}/${file} must lie beside this page; copy both together`)),
    });
    document.head.append(script);
  });
}

/* A study in 3-D: label maps over the image, and what can be changed about that. */
async function showViewer(place, folder, file) {
  wanted = file;
  const message = element("p", { class: "note" }, "Loading ...");
  place.replaceChildren(message);
  try {
    const given = await loadVolumes(folder, file);
    if (wanted !== file) return;
    const canvas = element("canvas", { tabindex: "0" });
    // NiiVue paints what its canvas lies in.
    const screen = element("div", { class: "screen" }, canvas);
    place.append(screen);
    const viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0.5,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      show3Dcrosshair: true,
    });
    await viewer.attachToCanvas(canvas);
    for (const volume of given.volumes) await addVolume(viewer, volume, given);
    if (wanted !== file) return;
    place.replaceChildren(controls(viewer, given), screen, element("p", { class: "note" }, given.note));
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.resizeListener();
    jump(viewer, given.classes.findLast((one) => one.lesion));
    canvas.dataset.ready = String(viewer.volumes.length);
  } catch (error) {
    message.textContent = `The 3-D view cannot be shown: ${error.message}`;
    message.className = "problem";
  }
}

function closeViewer(place) {
  wanted = null;
  // Browsers keep few graphics contexts alive: each is given back.
  place.querySelector("canvas")?.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  place.replaceChildren();
}

async function addVolume(viewer, volume, given) {
  const options = { base64: volume.base64, name: `${volume.name}.nii.gz` };
  if (!volume.labels) [options.cal_min, options.cal_max] = given.window;
  const image = await niivue.NVImage.loadFromBase64(options);
  if (volume.labels) image.setColormapLabel(colours(given.classes));
  viewer.addVolume(image);
  if (volume.labels) viewer.setOpacity(viewer.volumes.length - 1, volume.name === "label map" ? DEFAULT_OPACITY : 0);
}

function colours(classes) {
  const map = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (const { label, name, colour } of classes) {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    map.R.push(red);
    map.G.push(green);
    map.B.push(blue);
    map.A.push(255);
    map.I.push(label);
    map.labels.push(name);
  }
  return map;
}

function jump(viewer, one) {
  if (!one?.lesion) return;
  viewer.scene.crosshairPos = viewer.mm2frac(one.lesion.mm);
  viewer.updateGLVolume();
}

function controls(viewer, given) {
  const opacities = given.volumes.map((volume, i) =>
    volume.labels
      ? slider(`${volume.name} opacity`, 0, 1, 0.05, viewer.volumes[i].opacity, (value) => viewer.setOpacity(i, value))
      : null,
  );
  const [low, high] = given.grey_values;
  const [black, white] = given.window;
  const step = (high - low) / 255;
  const window = (name, value) => {
    viewer.volumes[0][name] = value;
    viewer.updateGLVolume();
  };
  const layout = element(
    "select",
    { "aria-label": "layout", onchange: (event) => viewer.setSliceType(Number(event.target.value)) },
    element("option", { value: viewer.sliceTypeMultiplanar }, "three planes and 3-D"),
    element("option", { value: viewer.sliceTypeAxial }, "axial"),
    element("option", { value: viewer.sliceTypeRender }, "3-D"),
  );
  return element(
    "div",
    {},
    element(
      "div",
      { class: "controls" },
      layout,
      ...opacities,
      slider("black at", low, high, step, black, (value) => window("cal_min", value)),
      slider("white at", low, high, step, white, (value) => window("cal_max", value)),
    ),
    element("div", { class: "controls classes" }, ...given.classes.map((one) => classEntry(viewer, one))),
  );
}

function slider(name, min, max, step, value, change) {
  const input = element("input", { type: "range", min, max, step, "aria-label": name });
  input.value = value;
  input.addEventListener("input", () => change(Number(input.value)));
  return element("label", {}, `${name} `, input);
}

function classEntry(viewer, one) {
  const swatch = element("span", { class: "swatch" });
  swatch.style.background = one.colour;
  const label = `${one.name}: ${one.volume_ml.toFixed(2)} ml`;
  if (!one.lesion) return element("span", {}, swatch, label);
  const title = `largest: ${one.lesion.volume_ml.toFixed(2)} ml`;
  const go = () => jump(viewer, one);
  return element("span", {}, swatch, `${label} `, element("button", { type: "button", title, onclick: go }, "go to the largest"));
}
