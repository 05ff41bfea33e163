// The camera's images, painted one after the other, as large as the machine manages at RATE a second.
export const RATE = 10;
const [LEAST, FIRST, MOST] = [96, 192, 640]; // pixels of the longer side
const STEP = 16;
const SETTLE = 4; // images of a size before another is tried: the first of a size takes longer

const PROBLEMS = {
  NotAllowedError: "the browser does not let this page; allow it beside the address, then press Camera again",
  NotFoundError: "there is none; connect one, then press Camera again",
  NotReadableError: "another program has it; close that one, then press Camera again",
};

// The longer side at which an image takes about 1 / RATE seconds, where one of `side` takes `milliseconds`.
export function fitting(side, milliseconds) {
  const wanted = (0.95 * 1000) / RATE;
  const next = side * Math.sqrt(wanted / milliseconds); // time goes with the area
  if (next > 0.95 * side && next < 1.15 * side) return side; // else it would go to and fro
  return Math.min(MOST, Math.max(LEAST, STEP * Math.floor(Math.min(1.5 * side, next) / STEP)));
}

// Opens the camera and calls `paint(image, canvas)` for an image after the other; each is done when `painted` is called.
// `failed(text)` is called where there is no camera to be had, or no longer.
export class Live {
  constructor(paint, failed) {
    this.paint = paint;
    this.failed = failed;
    this.side = FIRST;
    this.rate = 0;
    this.times = [];
    this.canvas = document.createElement("canvas");
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  }

  async start() {
    try {
      await this.open();
    } catch (error) {
      this.failed(`The camera cannot be used: ${PROBLEMS[error?.name] ?? error?.message ?? error}.`);
    }
  }

  async open() {
    if (!navigator.mediaDevices) throw new Error("a page that uses it has to come from https or from this machine");
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
    if (this.ended) return this.stop(); // while the browser asked whether it may
    for (const track of this.stream.getTracks())
      track.onended = () => this.failed("The camera has gone: connect it, then press Camera again.");
    this.video.srcObject = this.stream;
    await this.video.play();
    this.next();
  }

  stop() {
    this.ended = true;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  next() {
    if (!this.stream) return;
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, this.side / Math.max(videoWidth, videoHeight));
    this.canvas.width = Math.max(1, Math.round(videoWidth * scale));
    this.canvas.height = Math.max(1, Math.round(videoHeight * scale));
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.began = performance.now();
    this.paint(context.getImageData(0, 0, this.canvas.width, this.canvas.height), this.canvas);
  }

  // The rate as words, once it is known, to stand before the size.
  pace() {
    return this.rate ? `${this.rate.toFixed(this.rate < 10 ? 1 : 0)} images a second at ` : "";
  }

  // The image is on view: the rate, and the size of those to come.
  painted() {
    this.times.push(performance.now() - this.began);
    if (this.times.length > SETTLE) {
      const median = this.times.slice(1).sort((a, b) => a - b)[SETTLE >> 1];
      this.rate = 1000 / median;
      const side = fitting(this.side, median);
      this.times = [];
      this.side = side;
    }
    requestAnimationFrame(() => this.next());
  }
}
