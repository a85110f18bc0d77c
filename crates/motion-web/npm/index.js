// The engine without the page: load(model), then run(frames). Its types, with shapes and units, are in index.d.ts.

import initialise, { Session } from './motion_web.js';
import { wasmFile } from './relaxed.js';

let started;

export async function load(model, { backend = 'cpu' } = {}) {
  started ??= read(new URL(wasmFile, import.meta.url)).then((module_or_path) => initialise({ module_or_path }));
  await started;
  const folder = typeof model === 'string' || model instanceof URL;
  const config = folder ? new TextDecoder().decode(await read(file(model, 'config.json'))) : model.config;
  const weights = folder ? await read(file(model, 'model.safetensors')) : model.weights;
  const session = new Session();
  const info = session.load_model(config, weights);
  if (backend === 'gpu') await session.use_gpu(config, weights, 'WebGPU', true, false);
  return new Network(session, info);
}

class Network {
  #session;
  #busy = Promise.resolve();

  constructor(session, info) {
    this.#session = session;
    this.info = info;
  }

  // One clip after the other: the module has room for one.
  run(frames, settings = {}) {
    const answer = this.#busy.then(() => this.#run(frames, settings));
    this.#busy = answer.catch(() => {});
    return answer;
  }

  async #run(frames, settings) {
    const session = this.#session;
    // Which of so many frames make a clip: one from the middle of each part.
    const { frames: count } = this.info;
    if (frames.length < 2) throw new RangeError(`found ${frames.length} frames, expected at least 2: motion is what changes between them`);
    const chosen = Array.from(session.seek_times((frames.length + 0.25) / RATE), (time) => Math.floor(time * RATE));
    if (chosen.length !== count) throw new RangeError(`the model chose ${chosen.length} frames, expected ${count}`);
    for (const index of chosen) {
      const { width, height, rgba, time = index / RATE } = frames[index];
      session.put_approximate(time, width, height, rgba);
    }
    await session.clip('');
    session.set(settings);
    while (session.upcoming()) await session.advance();
    const { top } = await session.scores();
    const maps = [];
    for (const { name, trained } of this.info.stages) if (trained) maps.push(await read_maps(session, name));
    return { frames: chosen, scores: top, maps };
  }
}

const RATE = 30; // frames a second that the module takes a video of unknown frames to have

async function read_maps(session, stage) {
  const { grid, pairs, legend, numbers, words } = await session.maps(stage);
  const cells = legend.radius_cells;
  return { stage, ...grid, pairs, displacement: numbers.displacement.map((value) => value * cells), confidence: numbers.confidence, words };
}

const file = (folder, name) => new URL(name, `${String(folder).replace(/\/?$/, '/')}`);

// Bytes of a file, also in Node.js, whose fetch knows no files.
async function read(url) {
  if (url.protocol === 'file:') return new Uint8Array(await (await import('node:fs/promises')).readFile(url));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
