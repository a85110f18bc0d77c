// How does every view look? VIEWS=FOLDER npm test views.spec.js: the page with its real network, on a desktop and on a phone, light
// and dark, each view as a picture, and a sheet of all for each size. Eyes judge; what can be asked by a program, page.spec.js asks.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { QUIET } from '../chromium.mjs';
import config from './playwright.config.js';
import { choose, demoFile, demos, expect, made, MODEL, state, test, visit } from './support.js';

const FOLDER = process.env.VIEWS;
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const camera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

test.use({ launchOptions: { ...config.use.launchOptions, args: [...QUIET, ...camera] } });

const result = async (page) => {
  await page.selectOption('#demo-select', { label: demos[1].title });
  await state(page, 'result');
  await page.locator('#scrubber').fill('4'); // where something is going on
};
const over = (what) => async (page) => {
  await result(page);
  await page.getByLabel('What lies over the frame').selectOption(what);
};
const beside = (what) => async (page) => {
  await result(page);
  await page.getByLabel('Compare the map with').selectOption(what);
  await expect(page.locator('#strip tr')).toHaveCount(5);
};
const tour = async (page) => {
  await page.getByRole('button', { name: 'Take a two-minute tour' }).click();
  await state(page, 'result');
};

// Each view: how to get there, and what of it shall be seen where it is taller than the screen.
const VIEWS = {
  empty: [(page) => expect(page.locator('#demos canvas, #demos img, #demos video').first()).toBeVisible()],
  busy: [async (page) => {
    await page.evaluate(() => new Promise((resolve) => { // held where its first maps have come
      const progress = document.querySelector('#progress-bar');
      const hold = new MutationObserver(() => { if (progress.value > 0.3) { hold.disconnect(); resolve(); } });
      hold.observe(progress, { attributes: true });
      document.querySelector('#demos button').click();
    }));
  }],
  result: [result],
  arrows: [over('arrows')],
  confidence: [over('confidence')],
  'where it was seen': [over('seen')],
  'other estimator': [beside('estimator')],
  'the way back': [beside('backward')],
  'other model': [async (page) => {
    await result(page);
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByLabel('Compare the map with').selectOption('choose')]);
    const other = join(MODEL, '../actions');
    await chooser.setFiles([join(other, 'config.json'), join(other, 'model.safetensors')]);
    await expect(page.locator('#strip tr')).toHaveCount(5);
  }],
  point: [async (page) => {
    await result(page);
    await page.getByRole('button', { name: 'Inspect a point' }).click();
    await expect(page.locator('#point-vectors tr')).toHaveCount(3);
  }, '#point'],
  'all stages': [async (page) => {
    await result(page);
    await page.getByLabel('the maps of all stages').check();
    await expect(page.locator('#strip tr')).not.toHaveCount(3);
    await state(page, 'result');
  }, '#strip'],
  'every frame': [async (page) => {
    await result(page);
    await page.getByLabel('How the frames are spread').selectOption('every');
    await expect(page.locator('#chart')).toBeVisible();
  }, '#chart'],
  'part of a video': [async (page) => {
    await result(page);
    await page.locator('#from').fill(String(await page.locator('#to').evaluate((to) => Number(to.value) / 2)));
    await expect(page.locator('#whole')).toBeVisible();
    await state(page, 'result');
  }, '#timeline'],
  'only what moves': [async (page) => {
    await result(page);
    await page.locator('#only').evaluate((details) => { details.open = true; });
    await page.locator('#floor').fill('2');
  }],
  'details and saving': [async (page) => {
    await result(page);
    for (const details of await page.locator('#side details').all()) await details.evaluate((one) => { one.open = true; });
  }, '#save'],
  webcam: [async (page) => {
    await page.getByRole('button', { name: 'Webcam' }).click();
    await state(page, 'result');
    await expect(page.locator('#run-facts')).toHaveText(/clips a second/);
  }],
  'a failure': [async (page) => {
    await page.getByText('Where it goes wrong, and why').click();
    await page.locator('#failures button').first().click();
    await state(page, 'result');
  }],
  gallery: [(page) => page.getByText('Where it goes wrong, and why').click(), '#gallery'],
  error: [async (page) => {
    await choose(page, made('holiday.mp4', 'not a video'));
    await state(page, 'error');
  }],
  help: [(page) => page.keyboard.press('?')],
  model: [(page) => page.locator('#model-sheet-open').click()],
  'tour, first step': [tour],
  'tour, correlation': [async (page) => {
    await tour(page);
    while (await page.locator('#tour-title').textContent() !== 'Correlation') await page.locator('#tour-next').click();
    await expect(page.locator('#point-vectors tr')).toHaveCount(3);
  }],
  'own video': [async (page) => {
    await choose(page, demoFile);
    await state(page, 'result');
  }],
};

for (const [size, viewport] of Object.entries(SIZES)) {
  test(`every view on a ${size}`, async ({ browser }) => {
    test.setTimeout(20 * 60_000);
    mkdirSync(FOLDER, { recursive: true });
    const shots = [];
    for (const [name, [reach, part]] of Object.entries(VIEWS)) {
      for (const colorScheme of ['light', 'dark']) {
        const page = await browser.newPage({ viewport, colorScheme, permissions: ['camera'], hasTouch: size === 'phone' });
        await visit(page, `${process.env.MOTIONLENS_URL}?backend=cpu`);
        await reach(page);
        await page.waitForTimeout(500); // the strip's pictures, and a picture's fading in
        if (part) await page.locator(part).scrollIntoViewIfNeeded();
        const path = join(FOLDER, `${size} ${colorScheme} ${name}.jpg`.replaceAll(/[ ,]+/g, '-'));
        shots.push([`${name}, ${colorScheme}`, await page.screenshot({ path, type: 'jpeg', quality: 85 })]);
        await page.close();
      }
    }
    const sheet = await browser.newPage({ viewport: { width: size === 'phone' ? 2000 : 2600, height: 800 } });
    await sheet.setContent(`<style>body { margin: 16px; display: grid; grid-template-columns: repeat(${size === 'phone' ? 8 : 4}, 1fr); gap: 16px;
      font: 16px system-ui; background: #888 } figure { margin: 0 } img { width: 100%; display: block } </style>${shots.map(([name, bytes]) =>
      `<figure><img src="data:image/jpeg;base64,${bytes.toString('base64')}"><figcaption>${name}</figcaption></figure>`).join('')}`);
    const all = await sheet.screenshot({ path: join(FOLDER, `all-${size}.jpg`), type: 'jpeg', quality: 75, fullPage: true });
    expect(all.length).toBeGreaterThan(1e5);
    await sheet.close();
  });
}
