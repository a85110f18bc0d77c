// The worker: owns the wasm module, the network and all drawing of maps. The page owns buttons and pictures.
// Bytes and settings go in, pictures and numbers come out; every formula is in Rust (crates/motion-web).
// What the two say to each other: messages.md.

import { wasmFile } from './relaxed.js';

// A decoder that gives nothing for so long has stopped.
const DECODER_SECONDS = 30;
// A stage of a large network may take this long on a slow machine.
const STAGE_SECONDS = 120;
// A browser that has not found a graphics card by then has none to give.
const ADAPTER_SECONDS = 10;
// Compressed frames in the decoder, and decoded ones on their way out of it: more would only take memory.
const QUEUE = 8;

let session;
let alone = '';
let memory;
let choice = 'auto';
let chosenFor = '';
let precision = 'f32';
let loaded; // config and weights of the model
let opened; // {file, name, part} of the clip
const cancelled = new Set(); // ids
const waiting = new Map(); // id -> type, of requests that have not ended; or PAUSED
let turn = Promise.resolve(); // requests run one after the other

class Cancelled extends Error {}
const PAUSED = Symbol('the page has to answer first');

// A new model or video makes the requests before it pointless, new settings those before them.
const replaces = {
  'load-model': () => true,
  open: (type) => type !== 'load-model',
  live: (type) => ['live', 'stage', 'point', 'beside'].includes(type),
  settings: (type) => type === 'settings',
  backend: (type) => type === 'settings' || type === 'backend',
};
// Even when their work is cancelled, what they change holds.
const LASTING = ['settings', 'backend'];

self.onmessage = ({ data }) => {
  if (data.type === 'cancel') return cancel(data.id);
  for (const [id, type] of waiting) if (id !== data.id && replaces[data.type]?.(type)) cancel(id);
  waiting.set(data.id, data.type);
  turn = turn.then(() => answer(data));
};

function cancel(id) {
  if (waiting.get(id) !== PAUSED) return void (waiting.has(id) && cancelled.add(id));
  waiting.delete(id);
  post({ type: 'cancelled', id });
}

try {
  const { Session } = await withThreads() ?? await load('pkg');
  session = new Session();
  post({ type: 'ready', wheel: session.wheel() });
} catch (error) {
  fail(undefined, error, true);
}

// The module with threads, running, or nothing where it cannot: then the other one works as well, but slower.
async function withThreads() {
  const cores = navigator.hardwareConcurrency ?? 1;
  if (cores === 1) return null;
  try {
    if (!self.crossOriginIsolated) throw new Error('its server does not isolate the page, so it may not share memory');
    const module = await load('pkg-threads');
    // Of many cores half: two may be one that is called twice, or slow ones, and the page has to go on as well.
    await module.initThreadPool(Math.min(cores, Math.max(4, Math.ceil(cores / 2)), 16));
    return module;
  } catch (error) {
    alone = error?.message ?? String(error);
    return null;
  }
}

async function load(folder) {
  const module = await import(`./${folder}/motion_web.js`);
  ({ memory } = await module.default({ module_or_path: new URL(`./${folder}/${wasmFile}`, import.meta.url) }));
  return module;
}

async function answer(message) {
  const { id, type } = message;
  const handler = handlers[type];
  try {
    if (!handler) throw new Error(`The worker does not know the message ${JSON.stringify(type)}.`);
    if (cancelled.has(id) && !LASTING.includes(type)) throw new Cancelled();
    const answered = await handler(message).catch((error) => again(message, error));
    if (answered === PAUSED) return void waiting.set(id, PAUSED);
    post({ type: 'done', id });
  } catch (error) {
    if (error instanceof Cancelled) post({ type: 'cancelled', id });
    else fail(id, error, error instanceof WebAssembly.RuntimeError);
  }
  waiting.delete(id);
  cancelled.delete(id);
}

const handlers = {
  async 'load-model'({ id, ...from }) {
    const { config, weights, notes } = await modelFiles(id, from);
    const info = session.load_model(config, weights);
    loaded = { config, weights };
    await chooseBackend(id);
    post({ type: 'model', id, info, notes, files: performance.getEntriesByType('resource').map(({ name }) => name) });
  },

  async 'load-other'({ id, ...from }) {
    const { config, weights, notes } = await modelFiles(id, from);
    post({ type: 'other', id, info: session.load_other(config, weights), notes });
  },

  async backend({ id, choice: chosen, reason = 'You chose it.', precision: wanted = precision }) {
    session.begin();
    choice = chosen;
    precision = wanted;
    chosenFor = reason;
    if (!loaded) return;
    await chooseBackend(id);
    if (session.has_clip()) await run(id);
  },

  async open({ id, file, name, from, to, sampling, frames }) {
    session.begin();
    opened = { file, name, part: { from, to, sampling, frames } };
    try {
      await read(id, false);
    } catch (error) {
      if (!error.fallback) throw error;
      post({ type: 'need-video-element', id, reason: error.message });
      return PAUSED;
    }
    await analyse(id, name);
  },

  async 'video-element'({ id, duration }) {
    session.begin();
    post({ type: 'seek', id, times: Array.from(session.seek_times(duration, opened.part)) });
    return PAUSED;
  },

  async 'approximate-frames'({ id, frames, times, name }) {
    for (const [i, frame] of frames.entries()) {
      const { width, height } = frame;
      session.put_approximate(times[i], width, height, draw(frame, width, height));
      frame.close?.();
    }
    await analyse(id, name);
  },

  async live({ id, frames, times }) {
    session.begin();
    session.seek_times(1, {}); // forgets the clip before
    for (const [i, frame] of frames.entries()) {
      const { width, height } = frame;
      session.put_approximate(times[i], width, height, draw(frame, width, height));
      frame.close();
    }
    const clip = await session.clip('Webcam');
    post({ type: 'clip', id, ...clip, approximate: false, source: { ...clip.source, codec: 'a camera', seconds: undefined } });
    await run(id);
  },

  async settings(settings) {
    session.begin();
    session.set(settings);
    if (session.has_clip()) await run(settings.id);
  },

  async stage({ id, stage }) {
    session.begin();
    await finish(id);
    progress(id, 'maps', { done: 0, total: 1, text: `looking at ${stage}` }, STAGE_SECONDS);
    await sendMaps(id, stage);
  },

  async point(message) {
    const { id } = message;
    await finish(id);
    post({ type: 'point', id, ...(await session.point(message)) });
  },

  async beside({ id, stage, what }) {
    await finish(id);
    post({ type: 'beside', id, ...(await session.beside(stage, what)) });
  },

  async save({ id, what, stage }) {
    await finish(id);
    const files = await session.save(what, stage);
    post({ type: 'saved', id, files }, files.map(({ bytes }) => bytes.buffer));
  },
};

// {config, weights, notes} of a folder, of a folder's files or of a checkpoint.
async function modelFiles(id, { url, files }) {
  if (files?.checkpoint) {
    inform(id, 'model', { done: 0, total: 0, text: `converting ${files.checkpoint.name}` });
    const bytes = new Uint8Array(await files.checkpoint.arrayBuffer());
    const found = session.convert(bytes, await files.labels?.text());
    await breathe(id);
    return found;
  }
  const config = await (files?.config ?? (await download(`${url}config.json`))).text();
  const tell = (done, total) => {
    const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
    const text = `loading the model, ${megabytes(done)} ${total ? `of ${megabytes(total)} ` : ''}MB`;
    inform(id, 'model', { done, total, text });
  };
  const weights = await (files?.weights ?? (await download(`${url}model.safetensors`, tell))).arrayBuffer();
  await breathe(id);
  return { config, weights: new Uint8Array(weights), notes: [] };
}

// The graphics card ended, and with it the frames on it: they are decoded once more, for the CPU, and the request goes on.
async function again(message, error) {
  if (!error.again) throw error;
  const { id, type } = message;
  await read(id, true);
  const clip = await session.clip(opened.name);
  if (['stage', 'point', 'beside', 'save'].includes(type)) return handlers[type](message);
  if (type === 'open') post({ type: 'clip', id, ...clip });
  await run(id);
}

// ---------------------------------------------------------------- where the network runs

async function chooseBackend(id) {
  if (choice === 'cpu') return session.use_cpu(chosenFor);
  try {
    progress(id, 'network', { done: 0, total: 0, text: 'trying WebGPU' }, STAGE_SECONDS);
    const { vendor, architecture, description } = await findAdapter();
    const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'an unnamed card';
    const tuning = tuningOf(name, JSON.parse(loaded.config));
    const half = precision === 'f16';
    const measured = await session.use_gpu(loaded.config, loaded.weights, name, choice === 'gpu', half, await tuning.stored());
    if (measured) await tuning.store(measured);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError || error.again) throw error;
    const reason = String(error?.message ?? error).replace('gpu backend: ', '');
    session.use_cpu(`WebGPU cannot be used here, so the CPU runs: ${reason}.`);
  }
}

// WebGPU is often there by half. An exception in here is only an exception; one within wasm would end the module.
async function findAdapter() {
  if (!navigator.gpu) throw new Error('this browser does not have it');
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('the browser does not answer')), ADAPTER_SECONDS * 1000);
  });
  const adapter = await Promise.race([navigator.gpu.requestAdapter(), late]).finally(() => clearTimeout(timer));
  if (!adapter) throw new Error('the browser finds no graphics card that it trusts');
  return adapter.info ?? {};
}

// Which kernels were fastest for such a network on this card in this browser, from start to start. Where nothing can be
// stored (no secure context, no room, not allowed) it is measured again.
function tuningOf(adapter, { backbone, input_size }) {
  const place = `tuning?${new URLSearchParams({ adapter, browser: navigator.userAgent, backbone, input_size, precision })}`;
  const cache = async () => caches.open('motionlens-tuning');
  return {
    stored: async () => {
      const found = await cache().then((opened) => opened.match(place)).catch(() => undefined);
      return found ? found.text() : '';
    },
    store: (measured) => cache().then((opened) => opened.put(place, new Response(measured))).catch(() => {}),
  };
}

// tell(done, total): bytes; total is 0 where the server does not say it.
async function download(url, tell = () => {}) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`The model file ${url} could not be fetched (${error.message}). Is the server running?`);
  }
  if (!response.ok) throw new Error(`The model file ${url} could not be fetched: the server answered ${response.status}.`);
  // Of a file that is packed on its way the length is that of the package.
  const total = response.headers.has('content-encoding') ? 0 : Number(response.headers.get('content-length'));
  const reader = response.body.getReader();
  const parts = [];
  let bytes = 0;
  try {
    for (let part; !(part = await reader.read()).done;) {
      parts.push(part.value);
      tell(bytes += part.value.length, total);
    }
  } catch (error) {
    throw new Error(`The model file ${url} stopped after ${bytes} bytes (${error.message}). Try again.`);
  }
  return new Blob(parts);
}

// ---------------------------------------------------------------- compressed frames to pixels

async function read(id, again) {
  session.open(opened.file, opened.name, again, opened.part);
  while (!session.open_step()) {
    inform(id, 'read', session.reading());
    await breathe(id);
  }
  await decode(id);
}

async function decode(id) {
  const config = await supported(session.decoder_config());
  let failure = null; // the decoder's complaint, or an error of the session
  const copies = []; // pixels on their way

  const output = (frame) => {
    copies.push(take(frame)
      .catch((error) => { failure ??= { error }; })
      .finally(() => frame.close()));
  };
  const start = () => {
    const decoder = new VideoDecoder({ output, error: ({ message }) => { failure ??= { message }; } });
    decoder.configure(config);
    return decoder;
  };

  let decoder = start();
  try {
    while (session.next_run()) {
      try {
        for (let chunk; !failure && (chunk = session.next_chunk());) {
          decoder.decode(new EncodedVideoChunk(chunk));
          while (!failure && decoder.decodeQueueSize > QUEUE) await withinLimit(dequeued(decoder));
          if (copies.length > QUEUE) await withinLimit(Promise.all(copies.splice(0)));
          inform(id, 'decode', session.decoding());
          if (cancelled.has(id)) throw new Cancelled();
        }
        if (!failure) await withinLimit(decoder.flush());
      } catch (error) {
        // A decoder that meets damage throws, or closes itself, or both.
        if (!(error instanceof DOMException)) throw error;
        failure ??= error;
      }
      await withinLimit(Promise.all(copies.splice(0)));
      if (failure?.error) throw failure.error;
      if (failure) {
        session.decoder_failed(failure.message);
        failure = null;
        if (decoder.state !== 'closed') decoder.close();
        decoder = start();
      }
      await breathe(id);
    }
  } finally {
    if (decoder.state !== 'closed') decoder.close();
  }
}

// The same frames on every machine, so no hardware unless there is nothing else.
async function supported(config) {
  const refuse = (reason) => Object.assign(new Error(reason), { fallback: true });
  if (!('VideoDecoder' in self)) throw refuse('This browser has no WebCodecs, so frames cannot be decoded one by one.');
  for (const hardwareAcceleration of ['prefer-software', 'no-preference']) {
    const wanted = { ...config, hardwareAcceleration };
    const answer = await VideoDecoder.isConfigSupported(wanted).catch(() => null);
    if (answer?.supported) return wanted;
  }
  throw refuse(`This browser does not decode its video track (${config.codec}).`);
}

// A frame that is wanted goes straight to the graphics card where the network runs there, else its pixels are fetched.
async function take(frame) {
  const { timestamp, visibleRect: { width, height }, displayWidth, displayHeight } = frame;
  if (!session.wants(timestamp, width, height)) return;
  // A picture is as large as it is shown, which is another size where pixels are not square.
  const square = displayWidth === width && displayHeight === height;
  const put = square && session.takes_pictures() && await putPicture(frame, width, height);
  if (!put) session.put(timestamp, width, height, await pixels(frame, width, height));
}

// By way of a bitmap: Chromium copies a frame itself to a card with a smeared last line and smoothed colours.
async function putPicture(frame, width, height) {
  const picture = await createImageBitmap(frame, { premultiplyAlpha: 'none' }).catch(() => null);
  try {
    return picture && session.put_picture(frame.timestamp, picture, width, height);
  } finally {
    picture?.close();
  }
}

async function pixels(frame, width, height) {
  try {
    const options = { format: 'RGBA', colorSpace: 'srgb' };
    const rgba = new Uint8Array(frame.allocationSize(options));
    await frame.copyTo(rgba, options);
    return rgba;
  } catch {
    // Older browsers copy only what the decoder made.
    return draw(frame, width, height);
  }
}

function draw(image, width, height) {
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function dequeued(decoder) {
  return new Promise((resolve) => {
    decoder.addEventListener('dequeue', resolve, { once: true });
    // A decoder that closes itself says nothing more.
    setTimeout(resolve, 1000);
  });
}

function withinLimit(promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    const late = new Error(`The browser's decoder gave nothing for ${DECODER_SECONDS} seconds. The video may be damaged.`);
    timer = setTimeout(() => reject(late), DECODER_SECONDS * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

// ---------------------------------------------------------------- pixels to maps and scores

async function analyse(id, name) {
  post({ type: 'clip', id, ...(await session.clip(name)) });
  await run(id);
}

// What is left of the network, then the action. Maps go out as soon as they are there.
async function run(id) {
  const sent = await finish(id);
  if (!sent) await sendMaps(id, session.default_stage());
  post({ type: 'scores', id, ...(await session.scores()), choice, alone, memory: memory.buffer.byteLength });
}

async function finish(id) {
  let sent = 0;
  for (let step; (step = session.upcoming());) {
    progress(id, 'network', step, STAGE_SECONDS);
    await breathe(id);
    const stage = await session.advance();
    if (stage) {
      await sendMaps(id, stage);
      sent += 1;
    }
  }
  return sent;
}

async function sendMaps(id, stage) {
  post({ type: 'maps', id, ...(await session.maps(stage)) });
}

// ---------------------------------------------------------------- messages

// Lets messages in, above all 'cancel'.
const channel = new MessageChannel(); // setTimeout would wait 4 ms each time
async function breathe(id) {
  await new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
  if (cancelled.has(id)) throw new Cancelled();
}

function progress(id, step, { done, total, text }, limit = DECODER_SECONDS + 5) {
  post({ type: 'progress', id, step, done, total, text, limit });
}

// Progress of many small steps, ten times a second.
let told = 0;
function inform(id, step, state) {
  if (performance.now() - told < 100) return;
  told = performance.now();
  progress(id, step, state);
}

function post(message, transfer = [...new Set(buffers(message))]) {
  self.postMessage(message, transfer);
}

// Pixels and numbers are handed over, not copied.
function buffers(value) {
  if (ArrayBuffer.isView(value)) return [value.buffer];
  if (value instanceof ImageBitmap) return [value];
  return value && typeof value === 'object' ? Object.values(value).flatMap(buffers) : [];
}

function fail(id, error, fatal) {
  const stopped = 'The analysis stopped: it ran out of memory or met a fault of its own. A smaller video or model may work.';
  post({ type: 'error', id, message: fatal && id ? stopped : error?.message ?? String(error), fatal: Boolean(fatal) });
}
