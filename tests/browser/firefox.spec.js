// Does the page work in a stock Firefox, on the CPU? Playwright drives Firefoxes of its own alone, so another tool drives this.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { launch } from 'puppeteer-core';
import { demo, demoFile, MODEL, said, scratch } from './support.js';

const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

test('a clip, its maps, another estimator, a point and a part of it in Firefox', async () => {
  test.skip(!existsSync(FIREFOX), `skipped: no Firefox at ${FIREFOX}`);
  const browser = await launch({ browser: 'firefox', executablePath: FIREFOX, headless: true, defaultViewport: null, args: ['--width=1280', '--height=900'] });
  try {
    const page = await browser.newPage();
    const complaints = [];
    page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
    page.on('pageerror', ({ message }) => complaints.push(message));
    await page.goto(process.env.MOTIONLENS_URL);
    // Not waitForFunction: it makes functions of text, and the page forbids that.
    const shows = (condition, ...values) => expect.poll(() => page.evaluate(condition, ...values)).toBe(true);
    const text = (selector) => page.$eval(selector, (one) => one.textContent);

    await shows(() => document.querySelectorAll('#demo-select option').length > 1);
    await page.select('#demo-select', '0');
    await shows(() => document.body.dataset.state === 'result');
    expect(await text('#clip-name')).toBe(demo.title);
    expect(await text('#facts')).toContain('WebAssembly');
    const best = await page.$$eval('#scores li', (rows) => rows.map((row) => row.textContent));

    // The native program says the same of this clip; their decoders differ by a level or two.
    const [{ top: [native] }] = said('classify', demoFile, '--model', MODEL, '--json', '--backend', 'cpu');
    expect(best[0]).toContain(native.label);
    expect(Math.abs(parseFloat(best[0].match(/([\d.]+) %/)[1]) / 100 - native.probability)).toBeLessThan(0.05);

    await page.click('#estimators input[value=soft]');
    await shows((before) => document.body.dataset.state === 'result' && document.querySelector('#scores').textContent !== before, best.join(''));
    await page.click('#inspect');
    await shows(() => document.querySelectorAll('#point-vectors tr').length === 3);
    await page.select('#view', 'arrows');
    await page.focus('#from');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await shows(() => document.body.dataset.state === 'result' && document.querySelector('#part-text').textContent.includes(' to '));
    await page.screenshot({ path: join(scratch, 'firefox.png') });
    expect(complaints).toEqual([]);
  } finally {
    await browser.close();
  }
});
