// The networks run here, so that the page stays alive; whoever has enough of it ends the worker.
import { fromBytes, sample, stylize, toBytes } from "./core.js";

// Each kind of runtime is a file of its own of 14 and 27 MB: what is not needed is not loaded.
const RUNTIMES = { webgpu: "./ort/ort.webgpu.min.mjs", wasm: "./ort/ort.wasm.min.mjs" };

async function runtime(backend) {
  const ort = await import(RUNTIMES[backend]);
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  // Threads need headers (COOP and COEP) that a plain file server does not send.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  return ort;
}

async function open(path, backend) {
  const ort = await runtime(backend);
  const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
  return [ort, await ort.InferenceSession.create(bytes, { executionProviders: [backend] })];
}

async function work(task, backend) {
  const [ort, session] = await open(task.model.file, backend);
  const run = async (inputs) => {
    const feeds = {};
    inputs.forEach(({ data, dims }, i) => (feeds[session.inputNames[i]] = new ort.Tensor("float32", data, dims)));
    const results = await session.run(feeds);
    return results[session.outputNames[0]].getData();
  };
  const facts = task.model.facts;
  if (task.model.kind === "texture")
    return toBytes(await sample(run, facts, task.height, task.width, task.seed));
  const photo = fromBytes(task.bytes);
  return toBytes(await stylize(run, facts, photo, task.height, task.width, task.options), task.bytes);
}

self.onmessage = async ({ data: task }) => {
  try {
    let backend = task.backend;
    if (backend === "auto") backend = (await navigator.gpu?.requestAdapter().catch(() => null)) ? "webgpu" : "wasm";
    let bytes;
    try {
      bytes = await work(task, backend);
    } catch (error) {
      if (task.backend !== "auto" || backend === "wasm") throw error;
      backend = "wasm"; // a graphics card that cannot, or has too little memory
      bytes = await work(task, backend);
    }
    self.postMessage({ bytes, backend }, [bytes.buffer]);
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
