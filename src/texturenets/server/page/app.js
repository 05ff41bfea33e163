// The page: a gallery, a photo or the camera, an image. What it knows of the models is in models.json.
import { Live } from "./live.js";
import { MixAndMask } from "./mix.js";

const $ = (id) => document.getElementById(id);
const backend = new URLSearchParams(location.search).get("backend") ?? "auto";
const PREVIEW = 256; // pixels of the longer side of what is shown first

let models = []; // what can be chosen: of a network of several styles each, with its `index` among them
let model = null;
let photo = null; // {bitmap, name, url}
let worker = null;
let live = null; // the camera, while it runs
let seen = null; // a canvas with its image that is at work
let busy = false;
let began = 0;
let shown = null; // what the image on view was made with: {name, style, options, mix, live}
const blend = new MixAndMask((network) => (network ? paint() : reblend()));

function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", wrong);
}

function options() {
  return { strength: Number($("strength").value), preserveColor: $("colors").checked, kept: blend.kept };
}

function choose(next) {
  model = next;
  for (const radio of document.querySelectorAll("#gallery input")) radio.checked = radio.value === next.name;
  const style = next.kind === "style";
  for (const one of document.querySelectorAll(".style")) one.hidden = !style;
  for (const one of document.querySelectorAll(".texture")) one.hidden = style;
  $("drop").hidden = !style;
  blend.choose(next, models);
  $("go").textContent = style ? "Paint" : "Draw";
  ready();
}

function ready() {
  $("go").disabled = !model || live !== null || (model.kind === "style" && !photo);
  $("busy").hidden = $("cancel").hidden = !busy || live !== null;
  return !$("go").disabled;
}

async function take(file) {
  endLive();
  try {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
    if (photo) URL.revokeObjectURL(photo.url);
    photo = { bitmap, name: file.name.replace(/\.[^.]*$/, "") || "photo", url: URL.createObjectURL(file) };
  } catch {
    const heic = /\.hei[cf]$/i.test(file.name) || /hei[cf]/.test(file.type);
    say(heic ? `${file.name}: this browser does not read HEIC. Give a JPEG, or open the page in Safari.`
      : `${file.name} is not an image that this browser can read.`, true);
    ready();
    return;
  }
  $("drop").querySelector("span").textContent = `${file.name}, ${photo.bitmap.width} × ${photo.bitmap.height}`;
  $("photo").src = photo.url;
  $("photo").hidden = false;
  blend.photo(photo);
  say("");
  if (model.kind !== "style") choose(models.find((one) => one.kind === "style") ?? model);
  paint();
}

// The photo's pixels, no larger than asked for; of its own size they are as they are in the file.
function pixels(longer) {
  const { width, height } = photo.bitmap;
  const scale = Math.min(1, longer / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo.bitmap, 0, 0, canvas.width, canvas.height);
  return [context.getImageData(0, 0, canvas.width, canvas.height), canvas];
}

function show(bytes, width, height) {
  const canvas = $("after");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(bytes, width, height), 0, 0);
  canvas.setAttribute("aria-label", shown.name);
  $("before").hidden = $("split").hidden = !shown.style;
  split();
  $("view").hidden = false;
  $("none").hidden = true;
}

function offer() {
  $("after").toBlob((blob) => {
    if ($("save").href) URL.revokeObjectURL($("save").href);
    $("save").href = URL.createObjectURL(blob);
    $("save").download = `${shown.name}.png`;
    $("save").hidden = false;
  }, "image/png");
}

function split() {
  $("before").style.clipPath = `inset(0 ${100 - $("split").value}% 0 0)`;
}

// What is at work is given up: a network that runs cannot be told to stop.
function stop() {
  if (busy) {
    worker.terminate();
    worker = null;
  }
  busy = false;
}

function answered({ data }) {
  if (data.error) {
    endLive();
    stop();
    say(`It did not work: ${data.error}. A smaller size may.`, true);
  } else if (data.step === "live") {
    busy = false;
    showBefore(seen);
    show(data.bytes, data.width, data.height);
    if (live) {
      live.painted();
      const said = `${live.pace()}${data.width} × ${data.height}, ${data.backend === "wasm" ? "WebAssembly" : "WebGPU"}`;
      if ($("said").textContent !== said) say(said);
      return;
    }
    offer(); // the last one, which was at work when the camera was stopped
  } else {
    show(data.bytes, data.width, data.height);
    if (data.step === "preview") {
      say("A preview; the image follows.");
      return;
    }
    busy = false;
    offer();
    if (data.step === "whole") {
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      say(`${data.width} × ${data.height} in ${seconds} s, ${data.backend === "wasm" ? "WebAssembly" : "WebGPU"}`);
      if (window.innerWidth <= 640) $("view").scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
    if (shown.style && JSON.stringify(options()) !== JSON.stringify(shown.options)) reblend();
  }
  ready();
}

function send(step, image, more) {
  const { width, height } = image;
  const mask = shown.style && !shown.live ? blend.mask(width, height) : null;
  worker.postMessage({ step, backend, width, height, mask, options: shown.options, mix: shown.mix, ...more });
}

function start() {
  if (worker) return;
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = answered;
  worker.onerror = () => {
    endLive();
    stop();
    say("The network could not be started.", true);
    ready();
  };
}

function showBefore(canvas) {
  [$("before").width, $("before").height] = [canvas.width, canvas.height];
  $("before").getContext("2d").drawImage(canvas, 0, 0);
}

// The camera's image that is to be painted now, in the style and with the options of now.
function paintLive(image, canvas) {
  start();
  shown = { style: true, live: true, options: options(), mix: blend.mix(), name: `camera-${blend.label()}` };
  seen = canvas;
  busy = true;
  send("live", image, { model, seed: 0, bytes: image.data });
}

async function camera() {
  if (live) {
    endLive();
    if (!busy && shown) offer(); // between two images; else the one at work is offered when it is done
    ready();
    return;
  }
  stop();
  $("save").hidden = true;
  const mine = (live = new Live(paintLive, (text) => live === mine && lost(text)));
  $("camera").textContent = "Stop the camera";
  say("");
  await mine.start();
  ready();
}

function lost(text) {
  endLive();
  say(text, true);
  ready();
}

function endLive() {
  if (!live) return;
  live.stop();
  live = null;
  $("camera").textContent = "Camera";
}

function paint() {
  if (live && model.kind === "style") return; // the next image is in the new style
  endLive();
  if (!ready()) return;
  stop();
  start();
  const style = model.kind === "style";
  const size = Number($("size").value);
  const longer = model.io_spec.fixed_size ? Math.min(size, model.io_spec.stride) : size;
  const seed = Math.max(0, Math.floor(Number($("seed").value)) || 0);
  const name = style ? `${photo.name}-${blend.label()}` : `${model.name}-${seed}`;
  shown = { style, options: options(), mix: blend.mix(), name };
  began = performance.now();
  busy = true;
  $("save").hidden = true;
  say("");
  if (style) {
    const [image, canvas] = pixels(longer);
    showBefore(canvas);
    if (Math.max(image.width, image.height) > 2 * PREVIEW) {
      const [small] = pixels(PREVIEW);
      send("preview", small, { model, seed, bytes: small.data });
    }
    send("whole", image, { model, seed, bytes: image.data });
  } else send("whole", { width: longer, height: longer }, { model, seed });
  ready();
}

// Strength, colours and what is kept of the photo need no network, once there is an image.
function reblend() {
  if (busy || live || !shown?.style || !worker) return;
  shown.options = options();
  shown.mix = blend.mix();
  busy = true;
  send("mixed", $("after"));
}

$("file").onchange = ({ target }) => target.files[0] && take(target.files[0]);
$("split").oninput = split;
$("camera").onclick = camera;
$("go").onclick = $("size").onchange = $("seed").onchange = paint;
$("strength").oninput = $("colors").onchange = reblend;
$("cancel").onclick = () => {
  stop();
  ready();
  say(shown && !$("view").hidden ? "Cancelled: what is shown is a preview, or of before." : "Cancelled.");
};
document.onpaste = ({ clipboardData }) => clipboardData.files[0] && take(clipboardData.files[0]);
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
};

// Of a network of several styles each is one to be chosen.
function each(one) {
  const styles = Object.entries(one.styles);
  if (!styles.length) return [{ ...one, label: one.name }];
  return styles.map(([label, title], index) => ({ ...one, name: `${one.name}:${label}`, label, title, index }));
}

models = (await (await fetch("models.json")).json()).flatMap(each);
for (const one of models) {
  const tile = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "model", value: one.name });
  radio.onchange = () => (choose(one), paint());
  tile.append(radio);
  if (one.thumbnail) tile.append(Object.assign(document.createElement("img"), { src: one.thumbnail, alt: "" }));
  tile.append(Object.assign(document.createElement("span"), { textContent: one.title }));
  $("gallery").append(tile);
}
choose(models[0]);
if ("serviceWorker" in navigator) navigator.serviceWorker.register("offline.js").catch(() => {});
