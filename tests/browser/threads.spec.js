// Does the module with threads run where it can, and give the same numbers as the one without?

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { TOLERANCE } from './same-numbers.js';
import {
  choose, demoFile, demos, expect, NO_THREADS, replaceWorker, safetensors, state, tensors, test, visit, withCores, withoutIsolation,
} from './support.js';

const GOLDEN = join(import.meta.dirname, '../fixtures/golden');
// Modules, threads, and whether with relaxed SIMD.
const RUNS = [true, false].flatMap((relaxed) => [
  ['pkg', 1, relaxed], ['pkg-threads', 1, relaxed], ['pkg-threads', 2, relaxed], ['pkg-threads', 3, relaxed],
]);

const facts = (page) => page.locator('#facts').textContent();

async function run(page, file) {
  await choose(page, file);
  await expect(page.locator('#clip-name')).toHaveText(basename(file));
  await state(page, 'result');
  return page.locator('#run-facts').textContent();
}

test('an isolated page uses threads', async ({ page }) => {
  test.skip(Boolean(NO_THREADS), NO_THREADS);
  await withCores(page, 3);
  await visit(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await run(page, demoFile)).toContain('CPU, 3 threads');
  expect(await facts(page)).not.toContain('Why one thread');
});

test('a page that is not isolated uses one thread, and says why', async ({ page }) => {
  await withoutIsolation(page);
  await withCores(page, 3);
  await visit(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
  expect(await run(page, demoFile)).toContain('CPU, 1 thread ');
  expect(await facts(page)).toContain('Why one thread' + 'its server does not isolate the page');
});

test('a page that was built without threads uses one thread, and says why', async ({ page }) => {
  await page.route('**/pkg-threads/motion_web.js', (route) => route.fulfill({
    contentType: 'text/javascript', body: "throw new Error('it was built without a nightly Rust');",
  }));
  await withCores(page, 2);
  await visit(page);
  expect(await run(page, demoFile)).toContain('CPU, 1 thread ');
  expect(await facts(page)).toContain('Why one thread' + 'it was built without a nightly Rust');
});

// What a worker that is to become a thread may do instead, and what the page says then.
for (const [what, does, says] of [
  ['fails', "this.onmessage({ data: { problem: 'no room for it' } })", 'no room for it'],
  ['does not load', "this.onerror({ preventDefault() {} })", 'a worker did not load'],
  ['is silent', '', 'they did not start within 10 seconds'],
]) {
  test(`where a thread ${what} the page uses one, and says why`, async ({ page }) => {
    test.skip(Boolean(NO_THREADS), NO_THREADS);
    await replaceWorker(page, (worker) => `
      Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 });
      self.Worker = class { postMessage() { ${does} } terminate() {} };
      ${worker}`);
    await visit(page);
    expect(await run(page, demoFile)).toContain('CPU, 1 thread ');
    expect(await facts(page)).toContain('Why one thread' + says);
  });
}

test('memory that runs out is told, and not waited for', async ({ page }) => {
  test.skip(Boolean(NO_THREADS), NO_THREADS);
  const ends = [];
  for (const pages of [300, 800, 1000, 2000]) { // of 64 KiB
    await page.unrouteAll();
    await replaceWorker(page, (worker) => `
      Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 });
      const { Memory } = WebAssembly;
      WebAssembly.Memory = function (limits) { return new Memory({ ...limits, maximum: ${pages} }); };
      ${worker}`);
    await page.goto(process.env.MOTIONLENS_URL);
    await choose(page, demoFile);
    await expect(page.locator('body')).toHaveAttribute('data-state', /result|error/, { timeout: 20_000 });
    ends.push(await page.locator('body').getAttribute('data-state'));
    console.log(`${pages} pages: ${ends.at(-1)} ${await page.locator('#failure-text').textContent()}`);
  }
  expect(ends).toEqual(['error', 'error', 'error', 'result']);
});

for (const clip of demos) {
  test(`${clip.file} has the same numbers, bit for bit, on 1, 2 and 3 threads`, async ({ browser }) => {
    test.skip(Boolean(NO_THREADS), NO_THREADS);
    const found = [];
    for (const cores of [1, 2, 3]) {
      const page = await browser.newPage();
      await withCores(page, cores);
      await visit(page);
      const text = await run(page, join(import.meta.dirname, '../../web/clips', clip.file));
      expect(text).toContain(`CPU, ${cores} thread`);
      const results = new Promise((resolve) => page.on('download', async (download) => {
        if (download.suggestedFilename() === 'results.safetensors') resolve(await download.path());
      }));
      await page.locator('#details').evaluate((details) => { details.open = true; });
      await page.click('#save');
      const file = await results;
      expect(tensors(file).logits.values.length).toBeGreaterThan(1);
      found.push(readFileSync(file));
      console.log(`${clip.file}: ${text}, ${(await facts(page)).match(/\d+ MB/)}`);
      await page.close();
    }
    expect(found[1].equals(found[0]) && found[2].equals(found[0])).toBe(true);
  });
}

// ---------------------------------------------------------------- golden networks

// A worker that runs networks alone: {folder, threads, file, cases: [{config, weights, clips, height, width}]} in, logits out.
const WORKER = `self.onmessage = async ({ data: { folder, threads, file, cases } }) => {
  try {
    const module = await import('./' + folder + '/motion_web.js');
    await module.default({ module_or_path: new URL('./' + folder + '/' + file, import.meta.url) });
    if (folder === 'pkg-threads') await module.initThreadPool(threads);
    const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const found = [];
    for (const { config, weights, clips, height, width } of cases) {
      const session = new module.Session();
      session.load_model(config, bytes(weights));
      found.push(Array.from(await session.logits_of_clips(new Float32Array(bytes(clips).buffer), height, width)));
    }
    self.postMessage(found);
  } catch (error) {
    self.postMessage(String(error));
  }
};`;

// The networks of the index, as a page can load them.
function networks() {
  const { files } = JSON.parse(readFileSync(join(GOLDEN, 'index.json'), 'utf8'));
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  return Object.entries(files).filter(([, { kind }]) => kind === 'network').map(([name, { config: c, weights: sources }]) => {
    const here = tensors(join(GOLDEN, name));
    const weights = [sources].flat().flatMap((source) => Object.entries(source === 'here' ? here : tensors(join(GOLDEN, source))))
      .filter(([name]) => name.startsWith('weight.') && !name.endsWith('num_batches_tracked'));
    const { shape: [, height, width], values } = here['input.frames'];
    const config = {
      architecture: 'msnet', backbone: c.backbone, frames: c.num_segments, input_size: 224, resize: [240, 320], mean, std,
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

test.describe.serial('golden networks in the browser', () => {
  let first;
  for (const [folder, threads, relaxed] of RUNS) {
    const file = relaxed ? 'motion_web_relaxed.wasm' : 'motion_web_bg.wasm';
    test(`equal PyTorch's with ${folder}/${file} on ${threads} thread${threads > 1 ? 's' : ''}`, async ({ page }) => {
      test.skip(folder !== 'pkg' && Boolean(NO_THREADS), NO_THREADS);
      await page.route('**/golden-worker.js', (route) => route.fulfill({
        contentType: 'text/javascript', body: WORKER, headers: { 'cross-origin-embedder-policy': 'require-corp' },
      }));
      await page.goto(`${process.env.MOTIONLENS_URL}clips/index.json`);
      const cases = networks();
      expect(cases.length).toBeGreaterThan(5);
      const found = await page.evaluate((message) => new Promise((resolve, reject) => {
        const worker = new Worker('/golden-worker.js', { type: 'module' });
        worker.onmessage = ({ data }) => (typeof data === 'string' ? reject(new Error(data)) : resolve(data));
        worker.onerror = ({ message }) => reject(new Error(message ?? 'the worker did not start'));
        worker.postMessage(message);
      }), { folder, threads, file, cases });
      for (const [i, { name, expected }] of cases.entries()) {
        const difference = Math.max(...expected.map((value, k) => Math.abs(value - found[i][k])));
        console.log(`${name}: largest difference of logits ${difference.toExponential(1)}`);
        expect(difference, name).toBeLessThan(TOLERANCE);
        expect(found[i].length, name).toBe(expected.length);
        expect(found[i], `${name}, bit for bit`).toEqual((folder === 'pkg' ? found : first)[i]);
      }
      if (folder === 'pkg') first = found;
    });
  }
});
