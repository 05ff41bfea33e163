// What the page does with numbers, without a browser: the same as texturenets.image.sizes, .noise, .stylize and .textures.
// Pictures are planar RGB, Float32Array of 3 * height * width in [0, 1].

// Indices into a line of `size` pixels from `before` pixels ahead of it, reflected at the ends as often as it takes.
function mirror(size, before, total) {
  const period = Math.max(1, 2 * (size - 1));
  return Int32Array.from({ length: total }, (_, i) => {
    if (size === 1) return 0;
    const place = (((i - before) % period) + period) % period;
    return Math.min(place, period - place);
  });
}

export function padded(side, stride, minSide) {
  return Math.ceil(Math.max(side, minSide) / stride) * stride;
}

// The image reflected outward by at least `margin`, until both sides are multiples of `stride` and at least `least`.
export function pad(pixels, height, width, stride, minSide, margin = 0, channels = 3) {
  const rows = padded(height + 2 * margin, stride, minSide);
  const columns = padded(width + 2 * margin, stride, minSide);
  const top = Math.floor((rows - height) / 2);
  const left = Math.floor((columns - width) / 2);
  const down = mirror(height, top, rows);
  const across = mirror(width, left, columns);
  const data = new Float32Array(channels * rows * columns);
  let at = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < rows; y++) {
      const start = (c * height + down[y]) * width;
      for (let x = 0; x < columns; x++) data[at++] = pixels[start + across[x]];
    }
  return { data, rows, columns, top, left };
}

export function crop(pixels, rows, columns, top, left, height, width) {
  const data = new Float32Array(3 * height * width);
  let at = 0;
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < height; y++) {
      const start = (c * rows + top + y) * columns + left;
      for (let x = 0; x < width; x++) data[at++] = Math.min(1, Math.max(0, pixels[start + x]));
    }
  return data;
}

// The upper and the lower 32 bits of a product of two words.
function product(a, b) {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const low = al * bl;
  const middle = ah * bl + (low >>> 16);
  const other = al * bh + (middle % 65536);
  const high = ah * bh + Math.floor(middle / 65536) + Math.floor(other / 65536);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}

// Philox4x32-10 (Salmon et al., SC 2011): four words for a counter of four and a key of two.
export function philox(counter, key) {
  let [a, b, c, d] = counter;
  let [k, m] = key;
  for (let i = 0; i < 10; i++) {
    const [h0, l0] = product(a, 0xd2511f53);
    const [h1, l1] = product(c, 0xcd9e8d57);
    [a, b, c, d] = [(h1 ^ b ^ k) >>> 0, l1, (h0 ^ d ^ m) >>> 0, l0];
    k = (k + 0x9e3779b9) >>> 0;
    m = (m + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

// A map of noise (channels, height, width) of an input {channels, stride, distribution, waves}, for a seed below 2^53,
// as the package draws it.
export function noise(seed, stream, height, width, { channels, stride, distribution, waves }) {
  const key = [seed % 4294967296 >>> 0, Math.floor(seed / 4294967296) >>> 0];
  const words = distribution === "normal" ? 2 * Math.ceil(channels / 2) : channels;
  const data = new Float32Array(channels * height * width);
  if (distribution === "waves") return drawnWaves(key, stream, height, width, stride, waves);
  const four = new Array(4 * Math.ceil(words / 4));
  const plane = height * width;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      for (let g = 0; 4 * g < words; g++) {
        const drawn = philox([y, x, stream, g], key);
        for (let i = 0; i < 4; i++) four[4 * g + i] = drawn[i];
      }
      for (let c = 0; c < channels; c++) {
        let value;
        if (distribution === "normal") {
          const pair = 2 * Math.floor(c / 2);
          const radius = Math.sqrt(-2 * Math.log((four[pair] + 0.5) / 4294967296));
          const angle = (2 * Math.PI * four[pair + 1]) / 4294967296;
          value = radius * (c % 2 ? Math.sin(angle) : Math.cos(angle));
        } else {
          value = Math.floor(four[c] / 256) / 16777216;
        }
        data[c * plane + y * width + x] = value;
      }
    }
  return data;
}

// Sine and cosine of each wave, with whole cycles in the image, whose phases are random.
function drawnWaves(key, stream, height, width, stride, waves) {
  const data = new Float32Array(2 * waves.length * height * width);
  waves.forEach((wave, i) => {
    const phase = Math.floor(philox([0, 0, stream, i >> 2], key)[i % 4] / 256) / 16777216;
    const [down, right] = wave.map((cycles, axis) => {
      const side = stride * [height, width][axis];
      return Math.round(cycles * side) / side;
    });
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const angle = 2 * Math.PI * (down * stride * (y + 0.5) + right * stride * (x + 0.5) + phase);
        data[(2 * i * height + y) * width + x] = Math.sin(angle);
        data[((2 * i + 1) * height + y) * width + x] = Math.cos(angle);
      }
  });
  return data;
}

function maps(ioSpec, seed, rows, columns) {
  return ioSpec.noise.map((one, stream) => {
    const [h, w] = [rows / one.stride, columns / one.stride];
    return {
      data: noise(seed, stream, h, w, one),
      dims: [1, one.channels, h, w],
    };
  });
}

// Of a network of `count` styles how much of each there is, its input `styles`: {data, channels, whole}. `mix`:
// {first, second, share, keeps}, the share of the second style; where not `keeps`, that is as much of it as `mask` says
// at each pixel (height * width, 0 to 1), and without a mask everywhere.
export function styleInput(count, mix, mask) {
  const { first, second, share } = mix;
  const whole = !mask || mix.keeps || first === second;
  const plane = whole ? 1 : mask.length;
  const data = new Float32Array(count * plane);
  for (let i = 0; i < plane; i++) {
    const there = whole ? share : share * mask[i];
    data[first * plane + i] = 1 - there;
    data[second * plane + i] += there;
  }
  return { data, channels: count, whole };
}

// `run` takes the network's inputs in order, {data, dims} each, and gives its picture's numbers. `styles`: of
// `styleInput`, for a network that takes it.
export async function stylize(run, ioSpec, pixels, height, width, seed = 0, styles = null) {
  const padding = [ioSpec.stride, ioSpec.min_side, ioSpec.margin];
  const { data, rows, columns, top, left } = pad(pixels, height, width, ...padding);
  const inputs = [{ data, dims: [1, 3, rows, columns] }, ...maps(ioSpec, seed, rows, columns)];
  if (styles?.whole) inputs.push({ data: styles.data, dims: [1, styles.channels, 1, 1] });
  else if (styles) {
    const wide = pad(styles.data, height, width, ...padding, styles.channels);
    inputs.push({ data: wide.data, dims: [1, styles.channels, rows, columns] });
  }
  return crop(await run(inputs), rows, columns, top, left, height, width);
}

// A stylized photo and the photo, as strongly as is wanted, in the photo's colours where those are kept. `kept`: how much
// of the photo stays at each pixel.
export function blend(painted, pixels, options = {}, kept = null) {
  const { strength = 1, preserveColor = false } = options;
  if (strength === 0) return pixels.slice();
  const made = painted.slice();
  const plane = made.length / 3;
  if (preserveColor)
    // Luminance of the result, colours of the photo (arXiv 1606.05897), in YIQ.
    for (let i = 0; i < plane; i++) {
      const luma = [0.299, 0.587, 0.114].reduce(
        (sum, weight, c) => sum + weight * (made[c * plane + i] - pixels[c * plane + i]), 0);
      for (let c = 0; c < 3; c++)
        made[c * plane + i] = Math.min(1, Math.max(0, pixels[c * plane + i] + luma));
    }
  if (strength !== 1 || kept)
    for (let i = 0; i < made.length; i++) {
      const share = kept ? strength * (1 - kept[i % plane]) : strength;
      made[i] = pixels[i] + share * (made[i] - pixels[i]);
    }
  return made;
}

export async function sample(run, ioSpec, height, width, seed) {
  const [rows, columns] = [height, width].map((side) => ioSpec.fixed_size ? ioSpec.stride : padded(side, ioSpec.stride, ioSpec.min_side));
  return crop(await run(maps(ioSpec, seed, rows, columns)), rows, columns, 0, 0, height, width);
}

// RGBA bytes, as a canvas has them, to planar floats and back.
export function fromBytes(bytes) {
  const plane = bytes.length / 4;
  const pixels = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) pixels[c * plane + i] = bytes[4 * i + c] / 255;
  return pixels;
}

export function toBytes(pixels, alpha) {
  const plane = pixels.length / 3;
  const bytes = new Uint8ClampedArray(4 * plane); // rounds by itself, halves to even as the package does
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = pixels[c * plane + i] * 255;
    bytes[4 * i + 3] = alpha ? alpha[4 * i + 3] : 255;
  }
  return bytes;
}
