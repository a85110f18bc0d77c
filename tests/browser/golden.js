// The stored networks of tests/fixtures/golden in the browser, each run once by a worker that does nothing else.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { safetensors, tensors } from './support.js';

const GOLDEN = join(import.meta.dirname, '../fixtures/golden');

// A worker that runs networks alone: {folder, file, threads, gpu, cases: [{config, weights, clips, height, width}]} in, logits out.
const WORKER = `self.onmessage = async ({ data: { folder, file = 'motion_web_bg.wasm', threads, gpu, cases } }) => {
  try {
    const module = await import('./' + folder + '/motion_web.js');
    await module.default({ module_or_path: new URL('./' + folder + '/' + file, import.meta.url) });
    if (folder === 'pkg-threads') await module.initThreadPool(threads);
    const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const found = [];
    for (const { config, weights, clips, height, width } of cases) {
      const session = new module.Session();
      session.load_model(config, bytes(weights));
      if (gpu) await session.use_gpu(config, bytes(weights), 'the card', true, false);
      found.push(Array.from(await session.logits_of_clips(new Float32Array(bytes(clips).buffer), height, width)));
    }
    self.postMessage(found);
  } catch (error) {
    self.postMessage(String(error));
  }
};`;

// Logits of each case, by one of the modules.
export async function logitsOf(page, cases, how) {
  await page.route('**/golden-worker.js', (route) => route.fulfill({
    contentType: 'text/javascript', body: WORKER, headers: { 'cross-origin-embedder-policy': 'require-corp' },
  }));
  await page.goto(`${process.env.MOTIONLENS_URL}clips/index.json`);
  return page.evaluate((message) => new Promise((resolve, reject) => {
    const worker = new Worker('/golden-worker.js', { type: 'module' });
    worker.onmessage = ({ data }) => (typeof data === 'string' ? reject(new Error(data)) : resolve(data));
    worker.onerror = ({ message }) => reject(new Error(message ?? 'the worker did not start'));
    worker.postMessage(message);
  }), { ...how, cases });
}

// The networks of the index, as a page can load them.
export function networks() {
  const { files } = JSON.parse(readFileSync(join(GOLDEN, 'index.json'), 'utf8'));
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  return Object.entries(files).filter(([, { kind }]) => kind === 'network').map(([name, { config: c, weights: sources }]) => {
    const here = tensors(join(GOLDEN, name));
    const weights = [sources].flat().flatMap((source) => Object.entries(source === 'here' ? here : tensors(join(GOLDEN, source))))
      .filter(([name]) => name.startsWith('weight.') && !name.endsWith('num_batches_tracked'));
    const { shape: [, height, width], values } = here['input.frames'];
    const config = {
      architecture: 'msnet', backbone: c.backbone, frames: c.num_segments, input_size: 64, resize: [240, 320], mean, std,
      sampling: 'segment', width: c.width, id2label: Object.fromEntries(Array.from({ length: c.num_classes }, (_, i) => [i, `class ${i}`])),
      motion: c.ms_at.length ? {
        stages: c.ms_at, patch: c.patch, reduce_channels: c.backbone.endsWith('mobilenet_v2') ? null : c.reduce_channels,
        estimator: { ks: 'kernel', s: 'soft' }[c.estimator], sigma: c.sigma, temperature: 1 / c.temperature,
        confidence: c.confidence, backward: c.backward, fusion: c.fusion,
      } : undefined,
    };
    const clips = Float32Array.from(values, (value, i) => (value / 255 - mean[i % 3]) / std[i % 3]);
    return {
      name, height, width, config: JSON.stringify(config), expected: [...here['expect.logits'].values],
      weights: safetensors(Object.fromEntries(weights.map(([name, tensor]) => [name.slice('weight.'.length), tensor]))).toString('base64'),
      clips: Buffer.from(clips.buffer).toString('base64'),
    };
  });
}
