// Does the module with threads run where it can, and give the same numbers as the one without?

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { logitsOf, networks } from './golden.js';
import { TOLERANCE } from './same-numbers.js';
import {
  choose, demoFile, demos, expect, NO_THREADS, replaceWorker, state, tensors, test, visit, withCores, withoutIsolation,
} from './support.js';

// Modules, threads, and whether with relaxed SIMD. Each with threads after the one without.
const RUNS = [['pkg', 1, true], ['pkg-threads', 3, true], ['pkg', 1, false], ['pkg-threads', 2, false]];

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

for (const clip of demos.slice(0, 3)) { // of both codecs
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
      await page.locator('#save').evaluate((details) => { details.open = true; });
      await page.getByRole('button', { name: '.safetensors' }).click();
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

test.describe.serial('golden networks in the browser', () => {
  let first;
  for (const [folder, threads, relaxed] of RUNS) {
    const file = relaxed ? 'motion_web_relaxed.wasm' : 'motion_web_bg.wasm';
    test(`equal PyTorch's with ${folder}/${file} on ${threads} thread${threads > 1 ? 's' : ''}`, async ({ page }) => {
      test.skip(folder !== 'pkg' && Boolean(NO_THREADS), NO_THREADS);
      const cases = networks();
      expect(cases.length).toBeGreaterThan(5);
      const found = await logitsOf(page, cases, { folder, threads, file });
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
