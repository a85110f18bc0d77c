// Does the page behave, whatever the network says? Here a made-up worker answers at once (fake-worker.js).

import axe from 'axe-core';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { choose, demo, demoFile, demos, drop, expect, failures, made, replaceWorker, save, state, test, visit, visitWithoutNetwork } from './support.js';

const SIZES = { desktop: { width: 1280, height: 800 }, 'desktop at 200 %': { width: 640, height: 400 }, phone: { width: 390, height: 844 }, 'small phone': { width: 360, height: 640 } };

// Each state of the page, and how to get there.
const STATES = {
  empty: () => {},
  busy: (page) => choose(page, made('wait.mp4')),
  result: (page) => choose(page, made('notes.mp4')),
  point: async (page) => {
    await choose(page, made('notes.mp4'));
    await page.getByRole('button', { name: 'Inspect a point' }).click();
    await expect(page.locator('#point-vectors tr')).toHaveCount(3);
  },
  beside: async (page) => {
    await choose(page, made('notes.mp4'));
    await page.getByLabel('Compare the map with').selectOption('backward');
    await expect(page.locator('#strip tr')).toHaveCount(5);
  },
  every: async (page) => {
    await choose(page, made('notes.mp4'));
    await page.getByLabel('How the frames are spread').selectOption('every');
    await expect(page.locator('#chart')).toBeVisible();
  },
  stages: async (page) => {
    await choose(page, made('notes.mp4'));
    await page.getByLabel('Frames that the network looks at together').selectOption('16');
    await page.getByLabel('the maps of all stages').check();
    await expect(page.locator('#strip tr')).toHaveCount(5);
  },
  gallery: (page) => page.getByText('Where it goes wrong, and why').click(),
  error: (page) => choose(page, made('fail.mp4')),
  help: async (page) => {
    await page.keyboard.press('?');
    await expect(page.getByRole('dialog')).toBeVisible();
  },
  model: async (page) => {
    await page.locator('#model-sheet-open').click();
    await expect(page.getByRole('dialog')).toBeVisible();
  },
  tour: async (page) => {
    await page.getByRole('button', { name: 'Take a two-minute tour' }).click();
    await expect(page.locator('#tour')).toBeVisible();
  },
};

const BODY = { point: 'result', beside: 'result', every: 'result', stages: 'result', tour: 'result', gallery: 'empty', help: 'empty', model: 'empty' };
const TALL = ['beside', 'gallery']; // what they add stands below the first screen

for (const [name, reach] of Object.entries(STATES)) {
  test(`${name}: nothing sticks out to the side, light and dark; names, roles and contrast hold`, async ({ page }) => {
    await visitWithoutNetwork(page);
    await reach(page);
    await state(page, BODY[name] ?? name);
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      const { wide, tall } = await page.evaluate(() => new Promise((resolve) => {
        requestAnimationFrame(() => setTimeout(() => resolve({ // what observes its own size has seen the new one
          wide: document.documentElement.scrollWidth,
          tall: document.documentElement.scrollHeight,
        })));
      }));
      expect(wide, size).toBeLessThanOrEqual(viewport.width);
      if (size === 'desktop' && !TALL.includes(name)) expect(tall, 'one screen').toBeLessThanOrEqual(viewport.height);
    }
    await page.setViewportSize(SIZES.desktop);
    for (const details of await page.locator('details').all()) {
      await details.evaluate((one) => { one.open = true; });
    }
    await page.evaluate(axe.source);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ['violations'] }));
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`), colorScheme).toEqual([]);
    }
  });
}

test('everything can be done with the keyboard', async ({ page }) => {
  await visitWithoutNetwork(page);
  const tabTo = async (name) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const { activeElement: it } = document;
        const box = it.closest('label') ?? it;
        const outline = [it, it.nextElementSibling].some((part) => part && getComputedStyle(part).outlineStyle !== 'none');
        return { name: it.getAttribute('aria-label') ?? box.textContent.trim(), value: it.value, outline };
      });
      expect(focused.outline, `the focus on ${focused.name} is visible`).toBe(true);
      if (focused.name === name || focused.value === name) return;
    }
    throw new Error(`${name} was not reached with Tab`);
  };
  await tabTo(demo.title);
  await page.keyboard.press('Enter');
  await state(page, 'result');
  await page.locator('h1').click(); // the thumbnail is gone: begin at the top
  await tabTo('Next frame');
  await page.keyboard.press('Enter');
  await expect(page.locator('#frame-text')).toHaveText(/^2 \/ 8/);
  await tabTo('Frame');
  await page.keyboard.press('ArrowRight');
  await expect(page.locator('#frame-text')).toHaveText(/^3 \/ 8/);
  await tabTo('Opacity of the map');
  await page.keyboard.press('Home');
  await expect(page.locator('#overlay')).toHaveCSS('opacity', '0');
  await tabTo('stage3');
  await page.keyboard.press('ArrowRight');
  await expect(page.locator('#stage-note')).toContainText('stage4 has no trained motion module');
  await tabTo('kernel');
  await page.keyboard.press('ArrowLeft');
  await expect(page.locator('#scores li').first()).toContainText('50 %');
  await tabTo('How this was computed');
  await page.keyboard.press('Enter');
  await expect(page.locator('#times')).toBeVisible();
});

test('single keys do what the sheet says, until they are turned off', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('notes.mp4'));
  await state(page, 'result');
  await page.locator('h1').click();
  await page.keyboard.press('ArrowRight');
  await expect(page.locator('#frame-text')).toHaveText(/^2 \/ 8/);
  await page.keyboard.press('ArrowLeft');
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 8/);
  await page.keyboard.press('v');
  await expect(page.locator('#view')).toHaveValue('arrows');
  await page.keyboard.press('3');
  await expect(page.locator('#stages input').nth(2)).toBeChecked();
  await page.keyboard.press('e');
  await expect(page.locator('#estimators input[value=soft]')).toBeChecked();
  await page.keyboard.press('i');
  await expect(page.locator('#point')).toBeVisible();
  await page.keyboard.press('i');
  await expect(page.locator('#point')).toBeHidden();
  await page.locator('h1').click(); // away from the button, whose own key space is
  await page.keyboard.press(' ');
  await expect(page.getByRole('button', { name: 'Pause' })).toBeVisible();
  await page.keyboard.press(' ');
  await page.keyboard.press('?');
  await page.getByLabel('Single keys work').uncheck();
  await page.getByRole('button', { name: 'Close' }).click();
  await page.locator('h1').click();
  const frame = await page.locator('#frame-text').textContent();
  await page.keyboard.press('v');
  await page.keyboard.press('ArrowLeft');
  await expect(page.locator('#view')).toHaveValue('arrows');
  await expect(page.locator('#frame-text')).toHaveText(frame);
});

test('the tour explains a demo clip from end to end', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.getByRole('button', { name: 'Take a two-minute tour' }).click();
  await expect(page.locator('#tour')).toBeVisible();
  const titles = [];
  for (;;) {
    const count = (await page.locator('#tour-count').textContent()).match(/(\d+) of (\d+)/);
    titles.push(await page.locator('#tour-title').textContent());
    await expect(page.locator('.toured')).toBeInViewport();
    await expect(page.locator('#tour-title')).toBeFocused();
    if (count[1] === count[2]) break;
    await page.getByRole('button', { name: 'Next', exact: true }).click();
    await expect(page.locator('#tour-count')).toHaveText(`${Number(count[1]) + 1} of ${count[2]}`);
  }
  expect(titles).toContain('Correlation');
  expect(titles).toContain('Soft-argmax, and with a kernel');
  expect(titles).toContain('Confidence');
  await page.getByRole('button', { name: 'Done' }).click();
  await expect(page.locator('#tour')).toBeHidden();
  await expect(page.locator('#point')).toBeHidden();
});

test('frames play, step and are chosen in the strip', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await page.getByRole('button', { name: 'Play' }).click();
  await expect(page.locator('#frame-text')).toHaveText(/^[3-8] \/ 8/);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.locator('#strip tr:first-child button').nth(6).click();
  await expect(page.locator('#frame-text')).toHaveText(/^7 \/ 8/);
  await expect(page.locator('#overlay')).toHaveAttribute('aria-label', /^displacement from frame 7 to 8: 6 % of the picture moves, .* to the right/);
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(page.locator('#overlay'), 'the last frame has no next one').toBeHidden();
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(page.locator('#frame-text')).toHaveText(/^8 \/ 8/);
});

test('the map is held beside the other estimator and the way back', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  await expect(page.locator('#beside-map')).toBeHidden();
  await expect(page.locator('#view option[value=difference]')).toBeDisabled();
  await page.getByLabel('Compare the map with').selectOption({ label: 'soft-argmax' });
  await expect(page.locator('#beside-text')).toHaveText('the two differ by 0.30 cells on average');
  await expect(page.locator('#strip th')).toHaveText(['frames', 'displacement', 'soft-argmax', 'difference', 'confidence']);
  await expect(page.locator('#beside-map')).toHaveCSS('clip-path', 'inset(0px 0px 0px 50%)');
  // The wipe moves, and is no choice of a point.
  const { x, y, width } = await page.locator('#wipe').boundingBox();
  await page.mouse.click(x + width * 0.8, y + 4);
  await expect(page.locator('#point')).toBeHidden();
  expect(Number(await page.locator('#wipe').inputValue())).toBeGreaterThan(70);
  await page.locator('#wipe').focus();
  await page.keyboard.press('Home');
  await expect(page.locator('#overlay')).toHaveCSS('clip-path', 'inset(0px 100% 0px 0px)');
  // It follows frame, stage and estimator, and goes when it is not wanted any more.
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(page.locator('#beside-text')).toContainText('0.31 cells');
  await page.locator('#view').selectOption('difference');
  await expect(page.locator('#overlay')).toHaveAttribute('aria-label', 'difference from frame 2 to 3');
  await expect(page.locator('#beside-map')).toBeHidden();
  await page.locator('#estimators input[value=soft]').check();
  await expect(page.locator('#strip th').nth(2)).toHaveText('kernel-soft-argmax');
  await page.locator('#stages input[value=stage4]').check();
  await expect(page.locator('#stage-note')).toContainText('probe');
  await expect(page.locator('#strip tr')).toHaveCount(5);
  await page.locator('h1').click();
  await page.keyboard.press('c');
  await expect(page.locator('#beside-text')).toHaveText('there and back misses by 0.31 cells on average');
  await expect.poll(() => new URL(page.url()).hash).toContain('beside=backward');
  await page.keyboard.press('c');
  await expect(page.locator('#strip tr')).toHaveCount(3);
  await expect(page.locator('#beside-text')).toBeEmpty();
  await expect.poll(() => new URL(page.url()).hash).not.toContain('beside');
});

test('the maps of all stages stand below each other', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  const rows = page.locator('#strip th');
  await expect(rows).toHaveText(['frames', 'displacement', 'confidence']);
  await page.getByLabel('the maps of all stages').check();
  await expect(rows).toHaveText(['frames', 'stage2', 'stage3', 'stage4', 'stage5']);
  await expect(page.locator('#strip td canvas')).toHaveCount(8 + 4 * 7);
  await expect(page.locator('#strip td.waiting')).toHaveCount(0);
  await expect(page.locator('#status'), 'whose maps came last').toHaveText('Maps of stage5.');
  // Each in its own measure; a click leads to the frame and the stage.
  const widths = await page.locator('#strip td:nth-child(2) canvas').evaluateAll((all) => all.map(({ width }) => width));
  expect(widths).toEqual([224, 56, 28, 14, 7]);
  await page.locator('#strip tr').nth(3).locator('canvas').nth(4).click();
  await expect(page.locator('#stages input[value=stage4]')).toBeChecked();
  await expect(page.locator('#frame-text')).toHaveText(/^5 \/ 8/);
  // All of them follow the estimator.
  await page.locator('#estimators input[value=soft]').check();
  await expect(page.locator('#scores li').first()).toContainText('50 %');
  await state(page, 'result');
  await expect(page.locator('#strip td canvas')).toHaveCount(8 + 4 * 7);
  await page.locator('h1').click();
  await page.keyboard.press('a');
  await expect(rows).toHaveText(['frames', 'displacement', 'confidence']);
});

test('full colour is one speed for the clip, or one for each pair', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  const speed = page.locator('#speed dt').first();
  await expect(speed).toHaveText('3.25');
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(speed).toHaveText('3.25');
  await page.getByLabel('each pair has its own scale').check();
  await expect(speed).toHaveText('1.25');
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(speed).toHaveText('1.50');
  await page.locator('#scrubber').fill('7');
  await expect(speed, 'the last frame has no map: that of the last pair').toHaveText('2.50');
  await expect(page).toHaveURL(/scaling=pair/);
  const there = page.url();
  await page.getByLabel('each pair has its own scale').uncheck();
  await expect(speed).toHaveText('3.25');
  await expect(page).not.toHaveURL(/scaling/);
  await page.goto('about:blank');
  await visitWithoutNetwork(page, there);
  await page.selectOption('#demo-select', { label: demo.title });
  await expect(speed).toHaveText('2.50');
  await expect(page.getByLabel('each pair has its own scale')).toBeChecked();
});

test('the network looks at twice as many frames together', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.selectOption('#demo-select', { label: demo.title });
  await state(page, 'result');
  const together = page.getByLabel('Frames that the network looks at together');
  await expect(together).toHaveValue('8');
  await together.selectOption('16');
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 16/);
  await expect(page.locator('#ticks i')).toHaveCount(16);
  await expect(page).toHaveURL(/frames=16/);
  const there = page.url();
  await page.goto('about:blank');
  await visitWithoutNetwork(page, there);
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 16/);
  await expect(together).toHaveValue('16');
  await together.selectOption('8');
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 8/);
  await expect(page).not.toHaveURL(/frames=/);
});

test('another model’s maps and action stand beside this one’s', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  const compare = page.getByLabel('Compare the map with');
  const pick = async (...files) => {
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), compare.selectOption('choose')]);
    await chooser.setFiles(files);
  };
  await pick(made('half.json', '{}'));
  await expect(page.locator('#beside-text')).toHaveText('Choose a model’s two files, or a checkpoint.');
  await expect(compare).toHaveValue('');
  await pick(made('half.json', '{}'), made('model.safetensors'));
  await expect(page.locator('#beside-text')).toHaveText('The other model sees something else.');
  await pick(made('config.json', '{}'), made('model.safetensors'));
  await expect(compare).toHaveValue('model');
  await expect(page.locator('#beside-text')).toHaveText('the two models’ maps differ by 0.30 cells on average; the other says: Moving something down, 62 %');
  await expect(page.locator('#strip th')).toHaveText(['frames', 'displacement', 'other model', 'difference', 'confidence']);
  // It stays to be chosen, and goes with the model that it was held beside.
  await compare.selectOption('');
  await expect(page.locator('#strip tr')).toHaveCount(3);
  await compare.selectOption({ label: 'the other resnet18' });
  await expect(page.locator('#strip tr')).toHaveCount(5);
  await expect(page).not.toHaveURL(/beside/);
  await page.setInputFiles('#model-files', [made('config.json', '{}'), made('model.safetensors')]);
  await expect(compare).toHaveValue('');
  await expect(compare.locator('[value=model]')).toBeDisabled();
});

test('what was asked about a clip that has gone is not shown', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  // The question and the next video in one breath.
  await page.evaluate(() => {
    const file = new DataTransfer();
    file.items.add(new File(['x'], 'wait.mp4'));
    document.getElementById('beside').value = 'backward';
    document.getElementById('beside').dispatchEvent(new Event('change'));
    document.getElementById('video-file').files = file.files;
    document.getElementById('video-file').dispatchEvent(new Event('change'));
  });
  await state(page, 'busy');
  await expect(page.locator('#beside-text')).toBeEmpty();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'result');
  await expect(page.locator('#strip tr'), 'asked again for the clip that is back').toHaveCount(5);
});

test('every frame is looked at, and the actions over time', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  await page.getByLabel('How the frames are spread').selectOption('every');
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 24/);
  await expect(page.locator('#strip')).toBeHidden();
  await expect(page.locator('#chart polyline')).toHaveCount(5);
  await expect(page.locator('#chart-table tr')).toHaveCount(4);
  await expect(page.locator('#chart-table')).toContainText('0.70 s to 1.30 s');
  await expect(page.locator('#film canvas')).toHaveCount(12);
  // A click leads to the frame.
  const { width } = await page.locator('#chart-lines').boundingBox();
  await page.locator('#chart-lines').click({ position: { x: width / 2, y: 20 } });
  await expect(page.locator('#frame-text')).toHaveText(/^1[23] \/ 24/);
  await expect(page.locator('#overlay')).toBeVisible();
  // What there is of one clip only cannot be chosen.
  await expect(page.getByLabel('Compare the map with')).toBeDisabled();
  await expect(page.locator('#view option[value=seen]')).toBeDisabled();
  await expect(page.locator('#stages input[value=stage4]')).toBeDisabled();
  await expect.poll(() => new URL(page.url()).hash).toContain('sampling=every');
  await page.getByLabel('How the frames are spread').selectOption('segment');
  await expect(page.locator('#chart')).toBeHidden();
  await expect(page.locator('#strip td canvas')).toHaveCount(22);
  await expect(page.locator('#stages input[value=stage4]')).toBeEnabled();
});

test('where the action was seen lies over every frame', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  await page.getByLabel('What lies over the frame').selectOption('seen');
  await expect(page.locator('#overlay')).toHaveAttribute('aria-label', 'where frame 1 speaks for the action');
  const width = () => page.locator('#overlay').evaluate((canvas) => canvas.width);
  expect(await width()).toBe(7);
  await page.locator('#scrubber').fill('7');
  await expect(page.locator('#overlay'), 'of the last frame, too').toBeVisible();
  await expect.poll(() => new URL(page.url()).hash).toContain('view=seen');
  await page.getByLabel('What lies over the frame').selectOption('colours');
  await expect(page.locator('#overlay')).toBeHidden();
});

test('the track shows the video, all of it while a part is chosen', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  await expect(page.locator('#film canvas')).toHaveCount(8);
  const places = () => page.locator('#film canvas').evaluateAll((all) => all.map(({ style }) =>
    [style.getPropertyValue('--at'), style.getPropertyValue('--part')].map(Number)));
  const whole = await places();
  expect(whole[0][0]).toBe(0);
  const [at, part] = whole.at(-1);
  expect(at + part).toBeCloseTo(1);
  await page.getByLabel('The part ends').focus();
  await page.keyboard.press('ArrowLeft');
  await state(page, 'result');
  await expect(page.getByRole('button', { name: 'All of it' })).toBeVisible();
  expect(await places()).toEqual(whole);
});

test('a point is looked into, by pointer and by keyboard', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  const { width, height } = await page.locator('#stack').boundingBox();
  // The fourth cell of 28 across, the eighth down.
  await page.locator('#stack').hover({ position: { x: (3.5 / 28) * width, y: (7.5 / 28) * height } });
  await expect(page.locator('#readout')).toContainText(/confidence 0\.[19]0/);
  await page.locator('#stack').click({ position: { x: (3.5 / 28) * width, y: (7.5 / 28) * height } });
  await expect(page.getByRole('heading', { name: 'Point 4, 8 of 28 × 28 of stage3, frame 1 to 2' })).toBeVisible();
  await expect(page.locator('#strip')).toBeHidden();
  await expect(page.locator('#point-vectors .current')).toHaveText('kernel-soft-argmax(+0.90, 0.00), 0.90 long');
  // The keys move it, and frames go on under it.
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowUp');
  await expect(page.locator('#point-title')).toContainText('Point 5, 7 of 28 × 28');
  await page.getByRole('button', { name: 'Next frame' }).click();
  await expect(page.locator('#point-title')).toContainText('frame 2 to 3');
  // Another stage has another grid: the same place on the picture.
  await page.locator('#stages input[value=stage4]').check();
  await expect(page.locator('#point-title')).toContainText('Point 3, 4 of 14 × 14 of stage4');
  await page.locator('#scrubber').fill('7');
  await expect(page.locator('#point-title')).toContainText('the last frame has no next one');
  await expect(page.locator('#point-body')).toBeHidden();
  await page.getByRole('button', { name: 'Close' }).click();
  await expect(page.locator('#strip')).toBeVisible();
  await page.getByRole('button', { name: 'Inspect a point' }).click();
  await expect(page.locator('#marker')).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('button', { name: 'Inspect a point' })).toBeFocused();
});

test('settings are tried on a point, and kept when let go of', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('clip.mp4'));
  await state(page, 'result');
  await page.getByRole('button', { name: 'Inspect a point' }).click();
  await expect(page.locator('#try-sigma-value')).toHaveText('5 cells');
  await page.getByLabel('side of the search window').focus();
  await page.keyboard.press('ArrowRight');
  await expect(page.locator('#try-patch-value')).toHaveText('17 × 17');
  await expect(page.locator('#point-correlation')).toHaveAttribute('aria-label', /17 × 17 cells/);
  // The clip took it over: another point starts from there.
  await page.locator('#marker').focus();
  await page.keyboard.press('ArrowLeft');
  await expect(page.locator('#point-title')).toContainText('Point 14, 15');
  await expect(page.locator('#point-correlation')).toHaveAttribute('aria-label', /17 × 17 cells/);
  await page.getByLabel('temperature').focus();
  await page.keyboard.press('Home');
  await expect(page.locator('#try-temperature-value')).toHaveText('0.0010');
});

test('the frame carries colours, arrows or confidence', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('notes.mp4'));
  await state(page, 'result');
  const shown = () => page.locator('#overlay').evaluate((canvas) => canvas.toDataURL());
  const colours = await shown();
  await page.getByLabel('What lies over the frame').selectOption('arrows');
  const arrows = await shown();
  await expect(page.locator('#overlay')).toHaveAttribute('aria-label', /displacement from frame 1 to 2/);
  await page.getByLabel('What lies over the frame').selectOption('confidence');
  await expect(page.locator('#overlay')).toHaveAttribute('aria-label', 'confidence from frame 1 to 2');
  expect(new Set([colours, arrows, await shown()]).size).toBe(3);
  await expect(page).toHaveURL(/view=confidence/);
});

test('a part of the video is chosen, and all of it again', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.selectOption('#demo-select', { label: demo.title });
  await state(page, 'result');
  await expect(page.locator('#part-text')).toHaveText('all 2.60 s');
  await expect(page.locator('#ticks i')).toHaveCount(8);
  await page.getByLabel('The part begins').focus();
  for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight');
  await expect(page.locator('#part-text')).toHaveText('1.00 to 2.60 s');
  await expect(page.locator('#frame-text')).toHaveText('1 / 8 · 1.00 s');
  await expect(page).toHaveURL(/from=1\.000/);
  // The handles never meet.
  await page.getByLabel('The part ends').focus();
  await page.keyboard.press('Home');
  await expect(page.locator('#part-text')).toHaveText('1.00 to 1.05 s');
  await page.getByLabel('How the frames are spread').selectOption('dense');
  await expect(page).toHaveURL(/from=1\.000&to=1\.050&sampling=dense/);
  const there = page.url();
  await page.goto('about:blank');
  await visitWithoutNetwork(page, there);
  await expect(page.locator('#part-text')).toHaveText('1.00 to 1.05 s');
  await expect(page.locator('#sampling')).toHaveValue('dense');
  await page.getByRole('button', { name: 'All of it' }).click();
  await expect(page.locator('#part-text')).toHaveText('all 2.60 s');
  await expect(page).not.toHaveURL(/from=/);
});

test('what hardly moves, or is unsure, can be left out', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('notes.mp4'));
  await state(page, 'result');
  // Of the made-up map the left half moves by 2 cells, the upper half is sure.
  const drawn = () => page.locator('#overlay').evaluate((canvas) => {
    const copy = Object.assign(document.createElement('canvas'), { width: 4, height: 4 }).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0, 4, 4);
    const at = (x, y) => copy.getImageData(4 * x, 4 * y, 1, 1).data[3] > 0;
    return [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)];
  });
  const view = page.getByLabel('What lies over the frame');
  expect(await drawn(), 'what lies still lets the frame through').toEqual([true, false, true, false]);
  await view.selectOption('confidence');
  expect(await drawn()).toEqual([true, true, true, true]);
  await page.getByText('Show only').click();
  await page.getByLabel('Least move shown').fill('1');
  expect(await drawn()).toEqual([true, false, true, false]);
  await view.selectOption('colours');
  await page.getByLabel('Least move shown').fill('2.5');
  expect(await drawn()).toEqual([false, false, false, false]);
  await page.getByLabel('Least move shown').fill('1');
  expect(await drawn()).toEqual([true, false, true, false]);
  await page.getByLabel('Least confidence shown').fill('0.5');
  expect(await drawn()).toEqual([true, false, false, false]);
  await expect(page.locator('#sure-value')).toHaveText('0.50');
  await expect(page).toHaveURL(/floor=1&sure=0.5/);
});

test('a view is saved as a picture, a clip as a film of its own length', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('plain.mp4'));
  await state(page, 'result');
  const png = readFileSync(await save(page, 'Picture'));
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([Math.round((560 * 537.6) / 403.2) + 300, 560]);
  const film = await save(page, 'Film');
  // 7 pairs of a quarter of a second each.
  const seconds = execFileSync('ffprobe', ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time', '-of', 'csv=p=0', film]);
  const times = seconds.toString().split('\n').map(parseFloat).filter(Number.isFinite);
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(1.4);
  expect(Math.max(...times) - Math.min(...times)).toBeLessThan(3);
});

test('a clip is saved as a GIF with the times of its frames', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('plain.mp4'));
  await state(page, 'result');
  const gif = await save(page, 'GIF');
  const told = execFileSync('ffprobe', ['-v', 'error', '-show_entries', 'stream=codec_name,width,height:packet=duration_time', '-of', 'json', gif]);
  const { streams: [{ codec_name, width, height }], packets } = JSON.parse(told);
  expect([codec_name, width, height]).toEqual(['gif', Math.round((560 * 537.6) / 403.2) + 300, 560]);
  expect(packets.map(({ duration_time }) => Number(duration_time))).toEqual(Array(7).fill(0.25));
  await expect(page.locator('#save-note')).toBeEmpty();
  // What it shows is the picture: the same pair, as far as 256 colours go.
  const pixels = (file) => execFileSync('ffmpeg', ['-v', 'error', '-i', file, '-frames:v', '1', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'], { maxBuffer: 1e8 });
  const [moving, still] = [pixels(gif), pixels(await save(page, 'Picture'))];
  expect(moving.length).toBe(still.length);
  expect(moving.reduce((sum, value, i) => sum + Math.abs(value - still[i]), 0) / still.length).toBeLessThan(4);
});

test('the address shows again what is shown', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.selectOption('#demo-select', { label: demo.title });
  await state(page, 'result');
  await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
  await page.locator('#stages input[value=stage4]').check();
  await page.locator('#scrubber').fill('2');
  await page.locator('#opacity').fill('30');
  await page.getByLabel('What lies over the frame').selectOption('arrows');
  await page.getByRole('button', { name: 'Inspect a point' }).click();
  const file = basename(demoFile);
  await expect(page).toHaveURL(new RegExp(`#clip=${file}&stage=stage4&estimator=soft&frame=3&view=arrows&opacity=30&point=7%2C7$`));
  const there = page.url();
  await page.goto('about:blank');
  await visitWithoutNetwork(page, there);
  await expect(page.locator('#point-title')).toContainText('Point 8, 8 of 14 × 14 of stage4, frame 3 to 4');
  await expect(page.locator('#stages input[value=stage4]')).toBeChecked();
  await expect(page.getByRole('radio', { name: 'soft-argmax', exact: true })).toBeChecked();
  await expect(page.locator('#overlay')).toHaveCSS('opacity', '0.3');
  await expect(page).toHaveURL(there);
});

test('a link that asks for what is not there says so', async ({ page }) => {
  const url = process.env.MOTIONLENS_URL;
  await visitWithoutNetwork(page, `${url}#clip=${basename(demoFile)}&stage=res9&patch=lots&frame=99&point=a,b`);
  await state(page, 'result');
  await expect(page.locator('#notes')).toContainText('The link asks for res9, which this model does not have: here is stage3.');
  await expect(page.locator('#notes')).toContainText('The link asks for patch lots, which cannot be: here it is 15.');
  await expect(page.locator('#frame-text')).toHaveText(/^1 \/ 8/);
  await page.goto('about:blank');
  await visitWithoutNetwork(page, `${url}#clip=none.mp4`);
  await expect(page.getByRole('alert')).toContainText('the demo clip none.mp4, which is not here');
  await page.goto('about:blank');
  await page.goto(`${url}?model=https://example.org/model`);
  await expect(page.getByRole('alert')).toContainText('The page fetches models of its own site only, not https://example.org/model/');
});

test('what weakens a result stands beside it', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('notes.mp4'));
  await expect(page.locator('#notes')).toContainText('2 frames were damaged');
  await expect(page.locator('#notes')).toContainText('the first and the last map are weaker');
  await page.locator('#stages input[value=stage2]').check(); // before any frames meet
  await expect(page.locator('#notes')).not.toContainText('weaker');
  await expect(page.locator('#notes')).toContainText('2 frames were damaged');
  await expect(page.getByText('approximate frames')).toBeHidden();
  await choose(page, made('approximate.mp4'));
  await expect(page.getByText('approximate frames')).toBeVisible();
  await expect(page.locator('#notes')).not.toContainText('damaged');
});

test('progress and results are announced', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('wait.mp4'));
  await expect(page.locator('#status')).toHaveText('Decoding frames');
  await expect(page.getByRole('progressbar', { name: 'Decoding frames, 3 of 8' })).toBeVisible();
  await choose(page, made('cars.mp4'));
  await expect(page.locator('#status')).toHaveText('cars.mp4: Moving something up, 81 %.');
});

test('work can be cancelled, and the last result is there again', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('wait.mp4'));
  await page.getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'empty');
  await choose(page, made('first.mp4'));
  await state(page, 'result');
  await choose(page, made('wait.mp4'));
  await page.getByRole('button', { name: 'Cancel' }).click();
  await state(page, 'result');
  await expect(page.locator('#clip-name')).toHaveText('first.mp4');
});

test('after an error the last result can be used on', async ({ page }) => {
  await visitWithoutNetwork(page);
  await choose(page, made('fail.mp4'));
  await expect(page.getByRole('alert')).toContainText('This is not a video');
  await expect(page.locator('#back')).toBeHidden();
  await choose(page, made('first.mp4'));
  await state(page, 'result');
  await choose(page, made('fail.mp4'));
  await state(page, 'error');
  await page.getByRole('button', { name: 'Back to the last result' }).click();
  await expect(page.locator('#clip-name')).toHaveText('first.mp4');
  await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
  await expect(page.locator('#scores li').first()).toContainText('50 %');
});

for (const [name, message] of [['crash', 'stopped: '], ['hang', 'said nothing for 30 seconds']]) {
  test(`after a ${name} of the worker the next video works`, async ({ page }) => {
    await page.clock.install();
    await visitWithoutNetwork(page);
    await choose(page, made('first.mp4'));
    await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
    await expect(page.locator('#scores li').first()).toContainText('50 %');
    await choose(page, made(`${name}.mp4`));
    if (name === 'hang') {
      await state(page, 'busy');
      await page.clock.fastForward(29_000);
      await state(page, 'busy');
      await page.clock.fastForward(2_000);
    }
    await expect(page.getByRole('alert')).toContainText(message);
    await expect(page.getByRole('alert')).toContainText('ready for another video');
    await choose(page, made('second.mp4'));
    await expect(page.locator('#clip-name')).toHaveText('second.mp4');
    await state(page, 'result');
    // The new worker knows the model and the settings of the old one.
    await expect(page.locator('#scores li').first()).toContainText('50 %');
    await expect(page.getByRole('radio', { name: 'soft-argmax', exact: true })).toBeChecked();
  });
}

test('a worker that cannot start is reported, once', async ({ page }) => {
  await replaceWorker(page, () => 'throw new Error("no WebAssembly here");');
  await page.goto(process.env.MOTIONLENS_URL);
  await expect(page.getByRole('alert')).toContainText('no WebAssembly here');
  await expect(page.getByRole('alert')).toContainText('a newer one has both');
});

test('where the worker cannot decode, the browser’s player is asked for frames', async ({ page }) => {
  await replaceWorker(page, () => `
    const post = (type, id, more) => postMessage({ type, id, ...more });
    const dot = () => ({ width: 1, height: 1, rgba: new Uint8ClampedArray(4) });
    onmessage = ({ data }) => {
      if (data.type === 'load-model') {
        post('model', data.id, { info: { backbone: 'net', frames: 3, sampling: 'segment', input_size: 224, parameters: 1, multiply_adds: {}, labels: [], stages: [], default_stage: '', settings: { estimator: 'soft', sigma: 5, temperature: 0.01, patch: 15 }, text: '' } });
        post('done', data.id);
      }
      if (data.type === 'open') post('need-video-element', data.id, { reason: 'This browser does not decode it.' });
      if (data.type === 'video-element') post('seek', data.id, { times: [0, data.duration / 2, data.duration * 0.9] });
      if (data.type === 'approximate-frames') {
        const { width, height } = data.frames[0];
        post('error', data.id, { message: \`\${data.frames.length} frames of \${width} x \${height}\`, fatal: false });
      }
    };
    post('ready', 0, { wheel: dot() });`);
  await visit(page);
  await choose(page, demoFile);
  await expect(page.getByRole('alert')).toContainText(/3 frames of \d{2,} x \d{2,}/);
  await choose(page, made('no.mp4', 'not a video'));
  await expect(page.getByRole('alert')).toContainText('This browser does not decode it. The browser’s player cannot open it either. If another program plays it, convert it');
});

test('the empty page says what it is, shows every demo moving, and promises privacy', async ({ page }) => {
  await visitWithoutNetwork(page);
  await expect(page.getByRole('heading', { level: 2 })).toContainText('See where a video moves');
  await expect(page.getByText('Nothing leaves this machine')).toBeVisible();
  await expect(page.locator('#demos video')).toHaveCount(demos.length);
  expect(demos.length).toBeGreaterThanOrEqual(3);
  await expect.poll(() => page.locator('#demos video').evaluateAll((all) => all.every((video) => video.currentTime > 0))).toBe(true);
});

test('clips in which matching goes wrong say how', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.getByText('Where it goes wrong, and why').click();
  const clips = page.getByRole('list', { name: 'Clips in which matching fails' }).getByRole('button');
  await expect(clips).toHaveCount(failures.length);
  expect(failures.map(({ fails }) => fails.match(/^[\w ]+/)[0])).toEqual(['Occlusion', 'Deformation', 'Flat regions', 'Moves under a cell']);
  await expect.poll(() => page.locator('#failures video').evaluateAll((all) => all.every((video) => video.currentTime > 0))).toBe(true);
  await clips.first().click();
  await expect(page.locator('#notes')).toContainText(failures[0].fails);
  // From the menu as well; the next clip has nothing to explain.
  await page.selectOption('#demo-select', { label: failures[2].title });
  await expect(page.locator('#notes')).toContainText(failures[2].fails);
  await page.selectOption('#demo-select', { label: demo.title });
  await expect(page.locator('#clip-name')).toHaveText(demo.title);
  await expect(page.locator('#notes')).not.toContainText('Flat regions');
});

test('nothing moves by itself where the system asks for that', async ({ page }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await visitWithoutNetwork(page);
  await expect.poll(() => page.locator('#demos video').evaluateAll((all) => all.every((video) => video.readyState >= 2))).toBe(true);
  expect(await page.locator('#demos video').evaluateAll((all) => all.some((video) => !video.paused))).toBe(false);
});

test('the model says what it is', async ({ page }) => {
  await visitWithoutNetwork(page);
  await page.locator('#model-sheet-open').click();
  await expect(page.locator('#model-facts')).toContainText('8 frames of 224 × 224 pixels, segment');
  await expect(page.locator('#model-facts')).toContainText('1.70 billion multiply-adds for a clip: stem 0.20, stage3 1.50');
  await expect(page.locator('#model-facts')).toContainText('2,000,000');
  await expect(page.locator('#model-labels li')).toHaveCount(5);
  await page.getByText('Its card').click();
  await expect(page.locator('#model-card')).toContainText('# Model card');
  await page.getByRole('button', { name: 'Close' }).click();
  // Another folder has its own card, or none.
  const files = ['config.json', 'model.safetensors'].map((name) => ({ name, mimeType: '', buffer: Buffer.from('{}') }));
  await page.setInputFiles('#model-files', [...files, { name: 'README.md', mimeType: 'text/markdown', buffer: Buffer.from('Mine.') }]);
  await page.locator('#model-sheet-open').click();
  await expect(page.locator('#model-card')).toHaveText('Mine.');
});

test('a model is opened by its two files, and one alone is not enough', async ({ page }) => {
  await visitWithoutNetwork(page);
  await drop(page, made('config.json', '{}'));
  await expect(page.getByRole('alert')).toContainText('Here is only config.json');
});
