// Is the webcam watched live, only when it is asked for, and let go of?

import { join } from 'node:path';
import { QUIET } from '../chromium.mjs';
import config from './playwright.config.js';
import { demoFile, expect, ffmpeg, scratch, state, test, visit } from './support.js';

const seen = ffmpeg('camera.y4m', '-i', demoFile, '-vf', 'scale=320:240', '-pix_fmt', 'yuv420p');
const camera = ['--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${join(scratch, 'camera.y4m')}`];

test.use({ launchOptions: { ...config.use.launchOptions, args: [...QUIET, ...camera] }, permissions: ['camera'] });

test('what the webcam sees is shown live, and it is let go of', async ({ page }) => {
  expect(seen).toBeTruthy();
  await page.addInitScript(() => {
    const { getUserMedia } = MediaDevices.prototype;
    window.streams = [];
    MediaDevices.prototype.getUserMedia = async function (...all) {
      const stream = await getUserMedia.apply(this, all);
      window.streams.push(stream);
      return stream;
    };
  });
  await visit(page);
  expect(await page.evaluate(() => window.streams.length), 'not asked for before the click').toBe(0);
  await page.getByRole('button', { name: 'Webcam' }).click();
  await state(page, 'result');
  await expect(page.locator('#clip-name')).toHaveText('Webcam');
  await expect(page.locator('#run-facts')).toHaveText(/\d clips a second/);
  // The picture goes on, and settings change while it does.
  const picture = () => page.locator('#frame').evaluate((canvas) => canvas.toDataURL());
  const first = await picture();
  await expect.poll(picture).not.toBe(first);
  await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
  await expect(page.locator('#facts')).toContainText('soft-argmax');
  await expect(page.getByRole('radio', { name: 'soft-argmax', exact: true })).toBeChecked();
  await page.getByRole('button', { name: 'Stop webcam' }).click();
  expect(await page.evaluate(() => window.streams.map((stream) => stream.getTracks().map(({ readyState }) => readyState)))).toEqual([['ended']]);
  await state(page, 'result');
  await page.waitForTimeout(2000); // a clip that was on its way may still come
  const last = await page.locator('#frame-text').textContent();
  await page.waitForTimeout(1500);
  expect(await page.locator('#frame-text').textContent()).toBe(last);
});

test.describe('where it is not allowed', () => {
  test.use({ permissions: [] });
  test('the page says so, and goes on', async ({ page }) => {
    await page.addInitScript(() => {
      MediaDevices.prototype.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };
    });
    await visit(page);
    await page.getByRole('button', { name: 'Webcam' }).click();
    await expect(page.getByRole('alert')).toContainText('The camera was not allowed.');
  });
});
