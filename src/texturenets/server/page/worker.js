// The networks run here, so that the page stays alive; whoever has enough of it ends the worker.
import { blend, fromBytes, sample, styleInput, stylize, toBytes } from "./core.js";

// Each kind of runtime is a file of its own of 14 and 27 MB: what is not needed is not loaded.
const RUNTIMES = { webgpu: "./ort/ort.webgpu.min.mjs", wasm: "./ort/ort.wasm.min.mjs" };

let opened = {}; // the network used last: {key, ort, session}
let last = null; // what it made last of a photo: {painted, photo, bytes}

async function runtime(backend) {
  const ort = await import(RUNTIMES[backend]);
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  // Threads need headers (COOP and COEP) that a plain file server does not send.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  return ort;
}

// The bytes of a file, whose name may hold any characters.
async function whole(path) {
  const answer = await fetch(path.split("/").map(encodeURIComponent).join("/"));
  if (!answer.ok) throw new Error(`${path} cannot be fetched (${answer.status})`);
  return answer;
}

async function open(path, backend) {
  const key = `${backend} ${path}`;
  if (opened.key !== key) {
    const ort = await runtime(backend);
    await opened.session?.release();
    opened = {};
    const bytes = new Uint8Array(await (await whole(path)).arrayBuffer());
    opened = { key, ort, session: await ort.InferenceSession.create(bytes, { executionProviders: [backend] }) };
  }
  return opened;
}

async function work(task, backend) {
  const { ort, session } = await open(task.model.file, backend);
  const run = async (inputs) => {
    const feeds = {};
    inputs.forEach(({ data, dims }, i) => (feeds[session.inputNames[i]] = new ort.Tensor("float32", data, dims)));
    const results = await session.run(feeds);
    return results[session.outputNames[0]].getData();
  };
  const ioSpec = task.model.io_spec;
  if (task.model.kind === "texture") {
    last = null;
    return toBytes(await sample(run, ioSpec, task.height, task.width, task.seed));
  }
  const photo = fromBytes(task.bytes);
  const count = Object.keys(task.model.styles).length;
  const styles = count ? styleInput(count, task.mix, task.mask) : null;
  const painted = await stylize(run, ioSpec, photo, task.height, task.width, task.seed, styles);
  last = { photo, bytes: task.bytes, painted };
  return blended(task);
}

function blended({ options, mix, mask }) {
  return toBytes(blend(last.painted, last.photo, options, mix.keeps ? mask : null), last.bytes);
}

async function answer(task) {
  const { step, width, height } = task;
  try {
    let backend = task.backend;
    let bytes;
    if (!task.model) bytes = blended(task);
    else {
      if (backend === "auto") backend = (await navigator.gpu?.requestAdapter().catch(() => null)) ? "webgpu" : "wasm";
      try {
        bytes = await work(task, backend);
      } catch (error) {
        if (task.backend !== "auto" || backend === "wasm") throw error;
        backend = "wasm"; // a GPU that cannot, or has too little memory
        opened = {};
        bytes = await work(task, backend);
      }
    }
    self.postMessage({ step, width, height, bytes, backend }, [bytes.buffer]);
  } catch (error) {
    self.postMessage({ step, error: String(error?.message ?? error) });
  }
}

// One after the other: a network runs once at a time.
let before = Promise.resolve();
self.onmessage = ({ data }) => (before = before.then(() => answer(data)));
