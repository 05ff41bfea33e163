// The page's numbers, for tests/test_web_page.py: tasks as a JSON file, answers as another.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [core, given, made] = process.argv.slice(2);
const { blend, fromBytes, noise, pad, stylize, sample, styleInput, toBytes } = await import(pathToFileURL(core));
const tasks = JSON.parse(readFileSync(given));
const calls = {
  noise: ({ seed, stream, height, width, input }) => [...noise(seed, stream, height, width, input)],
  pad: ({ pixels, height, width, stride, least }) => {
    const { data, rows, columns, top, left } = pad(pixels, height, width, stride, least);
    return { data: [...data], box: [rows, columns, top, left] };
  },
  // In place of a network: a third of the picture, with its first map of noise added
  stylize: async ({ bytes, height, width, io_spec: ioSpec, options }) => {
    const run = async ([photo, map]) => photo.data.map((v, i) => v / 3 + (map ? map.data[i % map.data.length] / 4 : 0));
    const photo = Uint8ClampedArray.from(bytes);
    const pixels = fromBytes(photo);
    const painted = await stylize(run, ioSpec, pixels, height, width, options.seed);
    return [...toBytes(blend(painted, pixels, options), photo)];
  },
  // What a network of several styles is given, and how much of the photo stays where its picture is black
  styles: async ({ mix, mask, height, width, io_spec: ioSpec }) => {
    let given;
    const run = async ([photo, styles]) => ((given = styles), photo.data.map(() => 0));
    const photo = new Float32Array(3 * height * width).fill(1);
    const values = mask && Float32Array.from(mask);
    const painted = await stylize(run, ioSpec, photo, height, width, 0, styleInput(3, mix, values));
    const blended = blend(painted, photo, { strength: 0.5 }, mix.keeps ? values : null);
    return { dims: given.dims, data: [...given.data], blended: [...blended] };
  },
  sample: async ({ io_spec: ioSpec, height, width, seed }) => {
    const run = async ([map]) => Float32Array.from([...map.data, ...map.data, ...map.data]);
    return [...(await sample(run, ioSpec, height, width, seed))];
  },
};
const answers = [];
for (const { call, ...rest } of tasks) answers.push(await calls[call](rest));
writeFileSync(made, JSON.stringify(answers));
