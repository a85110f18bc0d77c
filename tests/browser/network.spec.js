// Does a video become maps and actions, and are they those of the native program?

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { unzipSync } from 'fflate';
import { differences, jumps, SHARE, TOLERANCE } from './same-numbers.js';
import {
  arrays, BUILDS, choose, demo, demoFile, drop, expect, MODEL, motionlens, NO_THREADS, replaceWorker, save, savedResults, scratch, sharedFiles,
  state, test, visit, watch, withCores,
} from './support.js';

const facts = (page) => page.locator('#facts').evaluate((list) =>
  Object.fromEntries([...list.querySelectorAll('div')].map((row) => [row.children[0].textContent, row.children[1].textContent])));

// The vector that the map shows is the one that the point inspector finds.
async function expectPointAsShown(page) {
  const numbers = (text) => text.replaceAll('−', '-').match(/[-+]?\d+\.\d+/g).slice(0, 2).map(Number);
  await expect.poll(async () => {
    const shown = numbers((await page.locator('#marker').getAttribute('aria-label')).split('moves')[1]);
    const found = numbers(await page.locator('#point-vectors .current td').textContent());
    return Math.max(...shown.map((value, axis) => Math.abs(value - found[axis])));
  }, 'the same but for rounding').toBeLessThan(0.015);
}

// The first stage with a trained module.
const module = (page) => page.locator('#stages label:not(:has(small)) input').first().getAttribute('value');

const scores = (page) => page.locator('#scores li').allTextContents();

// The pixels of a row of the strip: what the page really shows.
const pixels = (page, row) => page.locator(`#strip tr:nth-child(${row}) canvas`).evaluateAll((all) =>
  all.map((canvas) => canvas.toDataURL()));

async function expectTheSame(page, estimator, model = MODEL) {
  const both = await savedResults(page, model, estimator);
  expect(both.facts.estimation.estimator).toBe(estimator);
  expect(Object.keys(both.native)).toContain('logits');
  for (const [name, difference] of Object.entries(differences(both.page, both.native))) {
    console.log(`${estimator} ${name}: largest difference ${difference.toExponential(1)}`);
    expect(difference, name).toBeLessThan(TOLERANCE);
  }
  for (const [name, share] of Object.entries(jumps(both.page, both.native))) {
    console.log(`${estimator} ${name}: ${(100 * share).toFixed(3)} % of places have another best match`);
    expect(share, name).toBeLessThan(SHARE);
  }
  // What is written on the page is the softmax of the native program's numbers.
  const shown = (await page.locator('#scores b').allTextContents()).map((text) => parseFloat(text) / 100);
  const weights = [...both.native.logits.values].map(Math.exp);
  const probabilities = weights.map((weight) => weight / weights.reduce((sum, other) => sum + other)).sort((a, b) => b - a);
  shown.forEach((share, i) => expect(Math.abs(share - probabilities[i])).toBeLessThan(0.006));
}

// Its frames meet before the classifier: numbers of a network with a temporal shift that begins late.
test('the other model that comes with the page gives the numbers of motionlens forward', async ({ page }) => {
  await visit(page);
  await choose(page, demoFile);
  await state(page, 'result');
  const before = await scores(page);
  await page.locator('#model-sheet-open').click();
  await page.getByRole('button', { name: '26 kinds' }).click();
  await expect(page.locator('#model-name')).toHaveText('tsm_mobilenet_v2');
  await expect.poll(() => scores(page)).not.toEqual(before);
  await state(page, 'result');
  await expect(page).toHaveURL(/\?model=models\/actions/);
  await expectTheSame(page, 'kernel', join(MODEL, '../actions'));
  await page.goto('about:blank');
  await page.goBack(); // the address alone says which model
  await expect(page.locator('#model-name')).toHaveText('tsm_mobilenet_v2');
});

for (const [cores, name] of BUILDS) {
  test.describe.serial(`a demo clip with ${name}`, () => {
    test.skip(cores > 1 && Boolean(NO_THREADS), NO_THREADS);
    let page;
    let complaints;
    const remembered = {};

    test.beforeAll(async ({ browser }) => {
      page = await browser.newPage();
      complaints = watch(page);
      await withCores(page, cores);
      await visit(page);
    });
    test.afterAll(() => page.close());

    test('that is dropped on the page becomes frames, maps and actions', async () => {
      await drop(page, { name: basename(demoFile), buffer: readFileSync(demoFile) });
      await state(page, 'result');
      const columns = await page.locator('#strip tr:first-child canvas').count();
      expect(columns).toBeGreaterThan(1);
      for (const row of [2, 3]) {
        const maps = await pixels(page, row);
        expect(maps).toHaveLength(columns - 1);
        expect(new Set(maps).size, 'maps of different pairs differ').toBeGreaterThan(1);
      }
      const { id2label } = JSON.parse(readFileSync(join(MODEL, 'config.json'), 'utf8'));
      expect(await scores(page)).toHaveLength(Math.min(5, Object.keys(id2label).length));
      await expect(page.locator('#frame')).toBeVisible();
      await expect(page.locator('#overlay')).toBeVisible();
      await expect(page.locator('#speed')).toContainText('pixels of the video');
      await expect(page.locator('#run-facts')).toHaveText(new RegExp(`CPU, ${name} · [\\d.]+ (s|ms)`));
      expect((await facts(page))['Stages run']).toContain('classifier');
    });

    test('gives the numbers of motionlens forward', () => expectTheSame(page, 'kernel'));

    test('changes its maps and its action with the estimator, without the backbone', async () => {
      remembered.scores = await scores(page);
      remembered.maps = await pixels(page, 2);
      await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
      await expect(page.locator('#facts')).toContainText('soft-argmax');
      await expect.poll(async () => (await facts(page)).Estimator).toBe('soft-argmax');
      await state(page, 'result');
      const { 'Stages run': ran, 'Stages kept': kept } = await facts(page);
      const first = await module(page);
      expect(ran.split(', ')[0]).toBe(`motion of ${first}`);
      expect(kept.split(', ')).toContain(first);
      expect(ran.split(', ')).not.toContain(first);
      expect(await pixels(page, 2)).not.toEqual(remembered.maps);
      expect(await scores(page)).not.toEqual(remembered.scores);
    });

    test('gives the numbers of motionlens forward with soft-argmax too', () => expectTheSame(page, 'soft'));

    test('comes back to the first numbers with the first estimator', async () => {
      await page.getByRole('radio', { name: 'kernel-soft-argmax' }).check();
      await expect.poll(async () => (await facts(page)).Estimator).toBe('kernel-soft-argmax');
      await state(page, 'result');
      expect(await scores(page)).toEqual(remembered.scores);
      expect(await pixels(page, 2)).toEqual(remembered.maps);
    });

    test('shows a probe of a stage without a module, and says so', async () => {
      const probe = page.locator('#stages label:has(small) input').first();
      const name = await probe.getAttribute('value');
      await probe.check();
      await expect(page.locator('#stage-note')).toContainText(`${name} has no trained motion module`);
      await state(page, 'result');
      const maps = await pixels(page, 2);
      expect(maps.length).toBe(remembered.maps.length);
      expect(maps).not.toEqual(remembered.maps);
      expect(await scores(page), 'the action does not use a probe').toEqual(remembered.scores);
      // The probe follows the estimator like every other map.
      await page.getByRole('radio', { name: 'soft-argmax', exact: true }).check();
      await expect.poll(async () => (await facts(page)).Estimator).toBe('soft-argmax');
      await state(page, 'result');
      await expect(page.locator('#stage-note')).toContainText(name);
      expect(await pixels(page, 2)).not.toEqual(maps);
    });

    test('looks into a point, and finds there what the map shows', async () => {
      const stages = page.locator('#stages input');
      for (const [stage, estimator] of [[await module(page), 'kernel-soft-argmax'], [await stages.first().getAttribute('value'), 'soft-argmax']]) {
        await page.getByRole('radio', { name: estimator, exact: true }).check();
        await expect.poll(async () => (await facts(page)).Estimator).toBe(estimator);
        await state(page, 'result');
        await page.locator(`#stages input[value=${stage}]`).check();
        await state(page, 'result');
        if (await page.locator('#marker').isHidden()) await page.getByRole('button', { name: 'Inspect a point' }).click();
        await expect(page.locator('#point-title')).toContainText(`of ${stage}, frame`);
        await expectPointAsShown(page);
      }
    });

    test('holds beside the map what the other estimator shows when it is chosen, and the way back', async () => {
      await page.getByRole('button', { name: 'Inspect a point' }).click();
      await page.locator(`#stages input[value=${await module(page)}]`).check();
      await state(page, 'result');
      const cells = async (words) => {
        await expect(page.locator('#beside-text')).toContainText(words);
        return Number((await page.locator('#beside-text').textContent()).match(/\d+\.\d+/)[0]);
      };
      await page.locator('#scrubber').fill('2');
      const differ = [];
      await page.getByLabel('Compare the map with').selectOption('estimator');
      for (const estimator of ['soft', 'kernel']) {
        await page.locator(`#estimators input[value=${estimator}]`).check();
        await state(page, 'result');
        await expect(page.locator('#strip th').nth(2)).toHaveText(estimator === 'soft' ? 'kernel-soft-argmax' : 'soft-argmax');
        differ.push(await cells('the two differ'));
      }
      expect(differ[0]).toBeGreaterThan(0.01);
      expect(Math.abs(differ[0] - differ[1]), 'the same two maps, either way round').toBeLessThan(0.011);
      await page.getByLabel('Compare the map with').selectOption('backward');
      expect(await cells('there and back misses')).toBeLessThan(3);
      await page.getByLabel('Compare the map with').selectOption('');
    });

    test('holds beside the map what another model shows of the same clip, and what it says', async () => {
      const files = ['config.json', 'model.safetensors'].map((name) => ({ name, mimeType: 'application/octet-stream', buffer: readFileSync(join(MODEL, name)) }));
      const config = JSON.parse(files[0].buffer);
      const compare = page.getByLabel('Compare the map with');
      const pick = async (...chosen) => {
        const [chooser] = await Promise.all([page.waitForEvent('filechooser'), compare.selectOption('choose')]);
        await chooser.setFiles(chosen);
      };
      // The same weights say the same, and at another temperature something else.
      await pick(...files);
      await expect(page.locator('#beside-text')).toContainText('maps differ by 0.00 cells on average');
      const [best] = await scores(page);
      await expect(page.locator('#beside-text')).toContainText(best.match(/^\D+/)[0].trim());
      config.motion.temperature *= 100;
      await pick({ ...files[0], buffer: Buffer.from(JSON.stringify(config)) }, files[1]);
      await expect(page.locator('#beside-text')).toContainText(/maps differ by (0\.0[1-9]|0\.[1-9]|[1-9])/);
      await pick({ ...files[0], buffer: Buffer.from(JSON.stringify({ ...config, input_size: 192 })) }, files[1]);
      await expect(page.locator('#beside-text')).toContainText('the middle 192 x 192 of 320 x 240 pixels of a frame, this one the middle 224 x 224');
      await compare.selectOption('');
    });

    test('looks at every fourth frame, window by window, and into a point of a later window', async () => {
      await page.getByLabel('How the frames are spread').selectOption('every4');
      await expect(page.locator('#chart')).toBeVisible();
      await state(page, 'result');
      const [, count] = (await page.locator('#frame-text').textContent()).match(/\/ (\d+)/);
      const frames = (await facts(page))['Frames shown'];
      expect(Number(count)).toBe(Math.ceil(Number(frames.match(/of (\d+)/)[1]) / 4));
      const found = arrays(await save(page, '.npz'));
      const stage = await module(page);
      expect(found.times.length).toBe(Number(count));
      const pairs = found[`confidence.${stage}`].length / (28 * 28);
      expect(pairs).toBe(Number(count) - 1);
      await page.locator('#scrubber').fill(String(count - 3));
      await page.getByRole('button', { name: 'Inspect a point' }).click();
      await expectPointAsShown(page);
      await page.getByRole('button', { name: 'Inspect a point' }).click();
      await page.getByLabel('How the frames are spread').selectOption('segment');
      await expect(page.locator('#chart')).toBeHidden();
      await state(page, 'result');
      expect(await scores(page), 'as before').toEqual(remembered.scores);
    });

    test('looks at twice as many frames together, with the numbers of motionlens forward', async () => {
      const folder = join(scratch, 'sixteen');
      mkdirSync(folder, { recursive: true });
      const config = JSON.parse(readFileSync(join(MODEL, 'config.json'), 'utf8'));
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, frames: 16 }));
      copyFileSync(join(MODEL, 'model.safetensors'), join(folder, 'model.safetensors'));
      await page.getByLabel('Frames that the network looks at together').selectOption('16');
      await expect(page.locator('#strip tr:first-child canvas')).toHaveCount(16);
      await expectTheSame(page, 'kernel', folder);
      await page.getByLabel('Frames that the network looks at together').selectOption('8');
      await expect(page.locator('#strip tr:first-child canvas')).toHaveCount(8);
      await state(page, 'result');
      expect(await scores(page), 'as before').toEqual(remembered.scores);
    });

    test('gives each pair a scale of its own without running anything', async () => {
      const maps = await pixels(page, 2);
      await page.getByLabel('each pair has its own scale').check();
      await expect.poll(() => pixels(page, 2)).not.toEqual(maps);
      await state(page, 'result');
      expect((await facts(page))['Stages run']).toBe('none');
      await page.getByLabel('each pair has its own scale').uncheck();
      await expect.poll(() => pixels(page, 2)).toEqual(maps);
    });

    test('shows the maps of all stages below each other', async () => {
      await page.getByLabel('the maps of all stages').check();
      const names = await page.locator('#stages input').evaluateAll((all) => all.map(({ value }) => value));
      await expect(page.locator('#strip th')).toHaveText(['frames', ...names]);
      await expect(page.locator('#strip td.waiting')).toHaveCount(0);
      await state(page, 'result');
      const rows = await Promise.all(names.map((_, i) => pixels(page, i + 2)));
      expect(new Set(rows.map((row) => row.join())).size, 'each stage sees something else').toBe(names.length);
      await page.getByLabel('the maps of all stages').uncheck();
    });

    test('left no error in the console and asked no other host', () => expect(complaints).toEqual([]));
  });
}

test('without WebCodecs the browser’s player gives approximate frames, and the page says so', async ({ page }) => {
  await replaceWorker(page, (worker) => `delete self.VideoDecoder;\n${worker}`);
  await visit(page);
  await choose(page, demoFile);
  await state(page, 'result');
  await expect(page.getByText('approximate frames')).toBeVisible();
  await page.click('#details summary');
  await expect(page.locator('#facts')).toContainText('by the browser’s player');
  expect((await scores(page))[0]).toMatch(/%/);
});

test('a demo clip opens from the menu', async ({ page }) => {
  await visit(page);
  await page.selectOption('#demo-select', { label: demo.title });
  await state(page, 'result');
  await expect(page.locator('#clip-name')).toHaveText(demo.title);
});

test('the clip is made of the part that is chosen, down to neighbouring frames', async ({ page }) => {
  await visit(page, `${process.env.MOTIONLENS_URL}#clip=${demo.file}&from=1`);
  await state(page, 'result');
  const numbers = async () => (await facts(page))['Frames shown'].match(/[\d, ]+/)[0].split(',').map(Number);
  const from = await numbers();
  const all = Number((await facts(page))['Frames shown'].match(/of (\d+)/)[1]);
  expect(Math.min(...from)).toBeGreaterThan(all / 8);
  // Eight frames from where the handle stands: back from the end, as far as eight frames go.
  const to = page.getByLabel('The part ends');
  const [begin, step] = await page.getByLabel('The part begins').evaluate((input) => [input.valueAsNumber, Number(input.step)]);
  await to.evaluate((input, end) => {
    input.valueAsNumber = end;
    for (const type of ['input', 'change']) input.dispatchEvent(new Event(type));
  }, begin + 7 * step);
  await expect.poll(async () => (await numbers()).every((n, i, list) => i === 0 || n === list[i - 1] + 1)).toBe(true);
  expect(await numbers()).toHaveLength(8);
});

test('developers’ clips become results', async ({ page }) => {
  const wanted = ['car_drives_up.mp4', 'asl_yes.mkv', 'bird_flaps_square_vp9.webm'];
  const clips = sharedFiles('clips').filter((file) => wanted.includes(basename(file)));
  test.skip(clips.length === 0, 'skipped: no ../shared/data/clips');
  await visit(page);
  for (const clip of clips) {
    await choose(page, clip);
    await expect(page.locator('#clip-name')).toHaveText(basename(clip));
    await state(page, 'result');
    console.log(`${basename(clip)}: ${(await scores(page))[0]}, ${await page.locator('#run-facts').textContent()}`);
  }
});

// From the same pixels: two decoders differ by a level or two, and a plain surface then matches elsewhere.
test('saved maps are those of the native program, in pixels of the video', async ({ page }) => {
  const wanted = ['car_drives_up.mp4', 'asl_yes.mkv', 'bird_flaps_square_vp9.webm'];
  const real = sharedFiles('clips').filter((file) => wanted.includes(basename(file)));
  await visit(page);
  for (const clip of [demoFile, ...real]) {
    await choose(page, clip);
    await expect(page.locator('#clip-name')).toHaveText(basename(clip));
    await state(page, 'result');
    const found = arrays(await save(page, '.npz'));
    const { native, facts: { estimation } } = await savedResults(page, MODEL, 'kernel');
    const stages = Object.keys(native).filter((name) => name.startsWith('displacement.')).map((name) => name.split('.')[1]);
    expect(Object.keys(found)).toEqual([...stages.flatMap((stage) => [`displacement.${stage}`, `confidence.${stage}`, `cell.${stage}`]), 'times']);
    for (const stage of stages) {
      const { shape: [, , , height, width], values } = native[`displacement.${stage}`];
      const radius = (estimation.patch - 1) / 2;
      const axis = (i) => Math.floor(i / (height * width)) % 2;
      const expected = {
        displacement: values.map((value, i) => value * radius * found[`cell.${stage}`][axis(i)]),
        confidence: native[`confidence.${stage}`].values,
      };
      for (const [kind, values] of Object.entries(expected)) {
        const saved = found[`${kind}.${stage}`];
        expect(saved.length, kind).toBe(values.length);
        const difference = values.reduce((most, value, i) => Math.max(most, Math.abs(value - saved[i])), 0);
        console.log(`${basename(clip)} ${kind}.${stage}: largest difference ${difference.toExponential(1)}`);
        expect(difference, kind).toBeLessThan(1e-3);
      }
    }
  }
  if (real.length === 0) console.log('skipped: no ../shared/data/clips, a demo clip alone was compared');
});

test('tables, flow files and facts are saved as the native program writes them', async ({ page }) => {
  await visit(page);
  await choose(page, demoFile);
  await state(page, 'result');
  const out = join(scratch, 'native-maps');
  motionlens('maps', demoFile, '--model', MODEL, '--out', out, '--format', 'flo,csv', '--backend', 'cpu');
  const flo = unzipSync(readFileSync(await save(page, '.flo')));
  expect(Object.keys(flo).sort()).toEqual(readdirSync(out).filter((name) => name.endsWith('.flo')).sort());
  for (const [name, bytes] of Object.entries(flo)) {
    expect(Buffer.from(bytes.subarray(0, 12)).equals(readFileSync(join(out, name)).subarray(0, 12)), name).toBe(true);
  }
  const lines = (file) => readFileSync(file, 'utf8').trim().split('\n');
  const [table, native] = [lines(await save(page, '.csv')), lines(join(out, 'maps.csv'))];
  expect(table[0]).toBe(native[0]);
  const places = (lines) => lines.map((line) => line.split(',').slice(0, 8).map((cell) => (Number.isNaN(Number(cell)) ? cell : Number(cell).toFixed(6))));
  expect(places(table)).toEqual(places(native));
  const json = JSON.parse(readFileSync(await save(page, '.json'), 'utf8'));
  expect(json.top[0].label).toBe(await page.locator('#scores li span').first().textContent());
  const [{ stage, displacement, confidence }] = json.stages;
  const found = arrays(await save(page, '.npz'));
  const [cells] = confidence.map((pair) => pair.length);
  expect(confidence.flat().map(Math.fround)).toEqual([...found[`confidence.${stage}`]]);
  expect(displacement[1].map(([dx]) => Math.fround(dx))).toEqual([...found[`displacement.${stage}`].slice(2 * cells, 3 * cells)]);
});

test('the comparison with the native program raises the alarm when it should', () => {
  const result = () => ({
    logits: { shape: [1, 2], values: Float32Array.of(1, 2) },
    'displacement.res3': { shape: [1, 1, 2, 1, 2], values: Float32Array.of(0.1, 0.2, 0.3, 0.4) },
    'confidence.res3': { shape: [1, 1, 1, 1, 2], values: Float32Array.of(0.5, 0.6) },
    'argmax.res3': { shape: [1, 1, 1, 1, 2], values: Float32Array.of(7, 8) },
  });
  const largest = (change) => {
    const changed = result();
    change(changed);
    return Math.max(...Object.values(differences(changed, result())));
  };
  expect(largest(() => {})).toBe(0);
  for (const name of ['logits', 'displacement.res3', 'confidence.res3']) {
    for (let i = 0; i < result()[name].values.length; i++) {
      expect(largest((changed) => { changed[name].values[i] += 0.01; }), name).toBeGreaterThan(TOLERANCE);
    }
    expect(largest((changed) => { changed[name].values[0] = NaN; }), name).toBeNaN();
  }
  // Another best match excuses the displacement of that place, and of no other.
  const moved = (place) => (changed) => {
    changed['argmax.res3'].values[place] += 1;
    changed['displacement.res3'].values[2] += 0.5;
  };
  expect(largest(moved(0))).toBe(0);
  expect(largest(moved(1))).toBeGreaterThan(TOLERANCE);
  expect(() => differences({}, result())).toThrow('did not save');
  const changed = result();
  moved(0)(changed);
  expect(jumps(changed, result())).toEqual({ 'argmax.res3': 0.5 });
});
