// A mask painted over a photo: as white as the paint is opaque.
const LONGER = 800; // most pixels of the longer side

export class Brush {
  // `size`: an input, in hundredths of the longer side; `erase`: a checkbox. `changed()` is called after each stroke.
  constructor(canvas, size, erase, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.painted = false;
    this.version = 0; // another for each mask
    let at = null; // where the stroke has come to
    const to = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * canvas.width;
      const y = ((event.clientY - box.top) / box.height) * canvas.height;
      this.line(at ?? [x, y], [x, y], (Number(size.value) / 100) * Math.max(canvas.width, canvas.height), erase.checked);
      at = [x, y];
    };
    canvas.onpointerdown = (event) => {
      if (event.button !== 0 || !event.isPrimary) return;
      canvas.setPointerCapture(event.pointerId);
      to(event);
    };
    canvas.onpointermove = (event) => at && event.isPrimary && to(event);
    canvas.onpointerup = canvas.onpointercancel = () => {
      if (!at) return;
      at = null;
      this.version++;
      changed();
    };
  }

  line(from, to, width, erase) {
    const c = this.context;
    c.globalCompositeOperation = erase ? "destination-out" : "source-over";
    [c.lineCap, c.lineJoin, c.lineWidth, c.strokeStyle] = ["round", "round", width, "#c8553d"];
    c.beginPath();
    c.moveTo(...from);
    c.lineTo(...to);
    c.stroke();
    this.painted = true;
  }

  // For another photo, of that size.
  start(width, height) {
    const scale = Math.min(1, LONGER / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.painted = false;
  }

  // Whether there was anything.
  clear() {
    const was = this.painted;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.painted = false;
    this.version++;
    return was;
  }

  // The mask for an image of that size, height * width numbers of 0 to 1; null where nothing is painted.
  values(width, height) {
    if (!this.painted) return null;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(this.canvas, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    return Float32Array.from({ length: width * height }, (_, i) => data[4 * i + 3] / 255);
  }
}
