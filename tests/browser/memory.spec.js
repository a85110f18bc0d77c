// Does memory stay flat, clip after clip? CLIPS=200 npm test memory.spec.js goes on for longer, and asks for the worker's, too.

import { QUIET } from '../chromium.mjs';
import config from './playwright.config.js';
import { demos, expect, state, test, visit } from './support.js';

const LONG = Boolean(process.env.CLIPS);
const CLIPS = Number(process.env.CLIPS ?? 24);
const MAY_GROW = 6e6; // bytes, in all: what garbage collection leaves differs; three clips are as much

test.use({ launchOptions: { ...config.use.launchOptions, args: [...QUIET, '--js-flags=--expose-gc', '--enable-precise-memory-info'] } });

// All of the worker's memory, its module's too. The browser takes a minute to answer.
async function ofWorker() {
  const { breakdown } = await performance.measureUserAgentSpecificMemory();
  const parts = breakdown.filter(({ attribution: [{ scope } = {}] }) => scope === 'DedicatedWorkerGlobalScope');
  return parts.reduce((all, { bytes }) => all + bytes, 0);
}

test('memory of page and worker stays flat', async ({ page }) => {
  test.setTimeout(120_000 + CLIPS * 6_000);
  await visit(page);
  const open = async ({ title }) => {
    await page.selectOption('#demo-select', { label: title });
    await expect(page.locator('#clip-name')).toHaveText(title);
    await state(page, 'result');
  };
  // Always with the same clip on the page, whose maps are part of it.
  const measure = async () => {
    await page.getByLabel('Compare the map with').selectOption('');
    await open(demos[0]);
    return {
      page: await page.evaluate(async () => {
        for (let i = 0; i < 4; i++) {
          globalThis.gc();
          await new Promise((resolve) => { setTimeout(resolve, 100); }); // buffers are let go of between two tasks
        }
        return performance.memory.usedJSHeapSize;
      }),
      ...(LONG ? { worker: await page.evaluate(ofWorker) } : {}),
      wasm: Number((await page.locator('#facts').textContent()).match(/Memory\s*(\d+) MB/)[1]) * 1e6,
      canvases: await page.locator('canvas').count(),
    };
  };
  let early;
  for (let i = 0; i < CLIPS; i++) {
    await open(demos[i % demos.length]);
    await page.locator('#scrubber').fill(String(i % 8));
    if (i % 3 === 0) await page.locator('#estimators input:not(:checked)').check();
    if (i % 4 === 0) await page.locator('#stages input').nth(3).check();
    if (i % 5 === 0) await page.getByLabel('What lies over the frame').selectOption({ index: i % 3 });
    if (i % 6 === 0) await page.getByLabel('Compare the map with').selectOption({ index: (i / 6) % 3 });
    if (i % 4 === 1) await page.locator('#stages input').nth(2).check();
    await state(page, 'result');
    // Every demo has been there once by then.
    if (i === 2 * demos.length - 1) early = await measure();
  }
  const late = await measure();
  for (const [what, bytes] of Object.entries(late)) {
    console.log(`${what}: ${what === 'canvases' ? `${early[what]}, then ${bytes}` : `${(early[what] / 1e6).toFixed(1)}, then ${(bytes / 1e6).toFixed(1)} MB`}`);
    expect(bytes, what).toBeLessThan(early[what] + (what === 'canvases' ? 1 : MAY_GROW));
  }
});
