// The page: a gallery, a photo, a picture. What it knows of the models is in models.json.
const $ = (id) => document.getElementById(id);
const backend = new URLSearchParams(location.search).get("backend") ?? "auto";

let models = [];
let model = null;
let photo = null; // {bitmap, name}
let worker = null;

function say(text) {
  $("said").textContent = text;
}

function choose(next) {
  model = next;
  for (const button of $("gallery").children) button.setAttribute("aria-checked", button.dataset.name === next.name);
  const style = next.kind === "style";
  for (const one of document.querySelectorAll(".style")) one.hidden = !style;
  for (const one of document.querySelectorAll(".texture")) one.hidden = style;
  $("drop").hidden = !style;
  $("go").textContent = style ? "Paint" : "Draw";
  ready();
}

function ready() {
  $("go").disabled = worker !== null || !model || (model.kind === "style" && !photo);
}

async function take(file) {
  try {
    photo = { bitmap: await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" }),
      name: file.name.replace(/\.[^.]*$/, "") || "photo" };
    $("drop").querySelector("span").textContent = `${file.name}, ${photo.bitmap.width} x ${photo.bitmap.height}`;
    say("");
  } catch {
    say(`${file.name} is not a picture that this browser can read.`);
  }
  ready();
}

// The photo's pixels, no larger than asked for; of its own size they are as they are in the file.
function pixels(longer) {
  const { width, height } = photo.bitmap;
  const scale = Math.min(1, longer / Math.max(width, height));
  const canvas = $("before");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo.bitmap, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function show(bytes, width, height, compare) {
  const canvas = $("after");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(bytes, width, height), 0, 0);
  $("before").hidden = $("split").hidden = !compare;
  $("split").value = 0;
  split();
  $("view").hidden = false;
  canvas.toBlob((blob) => {
    if ($("save").href) URL.revokeObjectURL($("save").href);
    $("save").href = URL.createObjectURL(blob);
    $("save").download = compare ? `${photo.name}-${model.name}.png` : `${model.name}-${$("seed").value}.png`;
    $("save").hidden = false;
  }, "image/png");
}

function split() {
  $("before").style.clipPath = `inset(0 ${100 - $("split").value}% 0 0)`;
}

function end() {
  worker?.terminate();
  worker = null;
  $("busy").hidden = $("cancel").hidden = true;
  ready();
}

function paint() {
  const style = model.kind === "style";
  const longer = Number($("size").value);
  const image = style ? pixels(longer) : { data: null, width: longer, height: longer };
  const began = performance.now();
  worker = new Worker("worker.js", { type: "module" });
  worker.onerror = () => {
    say("The network could not be started.");
    end();
  };
  worker.onmessage = ({ data }) => {
    if (data.error) say(`It did not work: ${data.error}. A smaller size may.`);
    else {
      show(data.bytes, image.width, image.height, style);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      say(`${image.width} x ${image.height} in ${seconds} s, ${data.backend === "wasm" ? "WebAssembly" : "WebGPU"}`);
    }
    end();
  };
  worker.postMessage({
    model, backend, bytes: image.data, width: image.width, height: image.height,
    seed: Math.max(0, Math.floor(Number($("seed").value)) || 0),
    options: { strength: Number($("strength").value), preserveColor: $("colors").checked },
  });
  $("busy").hidden = $("cancel").hidden = false;
  $("save").hidden = true;
  say("");
  ready();
}

$("file").onchange = ({ target }) => target.files[0] && take(target.files[0]);
$("split").oninput = split;
$("go").onclick = paint;
$("cancel").onclick = () => {
  end();
  say("Cancelled.");
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

models = await (await fetch("models.json")).json();
for (const one of models) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", onclick: () => choose(one) });
  button.setAttribute("role", "radio");
  button.dataset.name = one.name;
  if (one.thumbnail) button.append(Object.assign(document.createElement("img"), { src: one.thumbnail, alt: "" }));
  button.append(Object.assign(document.createElement("span"), { textContent: one.name }));
  $("gallery").append(button);
}
choose(models[0]);
if ("serviceWorker" in navigator) navigator.serviceWorker.register("offline.js").catch(() => {});
