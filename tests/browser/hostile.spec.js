// What does the page make of files that are no good? A sentence or a picture, and the next file works.

import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { BUILDS, choose, demoFile, expect, ffmpeg, made, MODEL, NO_THREADS, scratch, sharedFiles, state, test, visit, withCores } from './support.js';

const SECONDS = 30;
const FOR_PROGRAMMERS = /panic|unwrap|undefined|is not a|\[object|RuntimeError/;

// Waits for an answer to the file, whichever: {state, text}.
async function outcome(page, file) {
  await choose(page, file);
  const body = page.locator('body');
  await expect(body).toHaveAttribute('data-state', /result|error/, { timeout: SECONDS * 1000 });
  const found = await body.getAttribute('data-state');
  return { state: found, text: await page.locator(found === 'error' ? '#failure-text' : '#scores li:first-child span').textContent() };
}

async function expectNextFileWorks(page) {
  await choose(page, demoFile);
  await expect(page.locator('#clip-name')).toHaveText(basename(demoFile));
  await state(page, 'result');
}

const red = ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=25:duration=1'];
const h264 = ['-pix_fmt', 'yuv420p', '-c:v', 'libx264'];

function truncated(name, of, share) {
  const bytes = readFileSync(of);
  const file = join(scratch, name);
  writeFileSync(file, bytes.subarray(0, Math.floor(bytes.length * share)));
  return file;
}

// Name, file, and words that must be in the answer.
const BAD = [
  ['an empty file', () => made('empty.mp4', ''), /empty/i],
  ['a web page named .webm', () => made('page.webm', '<!doctype html><title>404</title>'), /video/i],
  ['a photo named .mp4', () => {
    const jpeg = readFileSync(ffmpeg('photo.jpg', ...red, '-frames:v', '1', '-update', '1'));
    return { name: 'photo.mp4', mimeType: 'video/mp4', buffer: jpeg };
  }, /picture|image|jpeg|video/i],
  ['sound without a picture', () => ffmpeg('sound.mp4', '-f', 'lavfi', '-i', 'sine=duration=1', '-c:a', 'aac'), /video|picture/i],
  ['an MP4 cut off before its index', () => truncated('cut.mp4', ffmpeg('whole.mp4', ...red, ...h264), 0.6), /moov|index|incomplete|cut|ends/i],
  ['a single frame', () => ffmpeg('one.mp4', ...red, '-frames:v', '1', ...h264), /only 1 frame/i],
  ['a codec that no browser has', () => ffmpeg('old.mp4', ...red, '-c:v', 'mpeg4'), /mp4v.*convert it/i],
];

test('bad files get a sentence, and the next file works', async ({ page }) => {
  await visit(page);
  for (const [name, file, words] of BAD) {
    await test.step(name, async () => {
      const found = await outcome(page, file());
      console.log(`${name}: ${found.text}`);
      expect(found.state, name).toBe('error');
      expect(found.text).toMatch(words);
      expect(found.text, 'a sentence for people').not.toMatch(FOR_PROGRAMMERS);
    });
  }
  await expectNextFileWorks(page);
});

test('unusual files become results', async ({ page }) => {
  const size = (width, height, frames) => ['-f', 'lavfi', '-i', `testsrc2=size=${width}x${height}:rate=25`, '-frames:v', String(frames)];
  await visit(page);
  const files = {
    '16 x 16': ffmpeg('tiny.mp4', ...size(16, 16, 20), ...h264),
    '97 x 55': ffmpeg('odd.webm', ...size(97, 55, 20), '-c:v', 'libvpx', '-deadline', 'realtime'),
    'a WebM that breaks off': truncated('cut.webm', ffmpeg('long.webm', ...size(320, 240, 60), '-c:v', 'libvpx', '-deadline', 'realtime', '-cluster_time_limit', '400'), 0.6),
  };
  for (const [name, file] of Object.entries(files)) {
    const found = await outcome(page, file);
    console.log(`${name}: ${found.text}`);
    expect(found.state, `${name}: ${found.text}`).toBe('result');
  }
});

test('bad models get a sentence, and the good one works again', async ({ page }) => {
  const config = readFileSync(join(MODEL, 'config.json'), 'utf8');
  const weights = readFileSync(join(MODEL, 'model.safetensors'));
  const open = (changedConfig, changedWeights) => page.setInputFiles('#model-files', [
    { name: 'config.json', mimeType: 'application/json', buffer: Buffer.from(changedConfig) },
    { name: 'model.safetensors', mimeType: 'application/octet-stream', buffer: changedWeights },
  ]);
  await visit(page);
  await open(config.replace('"frames"', '"framez"'), weights);
  await expect(page.getByRole('alert')).toContainText('framez');
  await open(config, weights.subarray(0, 1000));
  await expect(page.getByRole('alert')).toContainText(/safetensors|weights/i);
  await expect(page.getByRole('alert')).not.toContainText('framez');
  await open(config, weights);
  await expect(page.locator('#model-name')).toHaveText(/net/);
  await expectNextFileWorks(page);
});

test('a checkpoint with a file of names becomes a model; what is no whole network gets a sentence', async ({ page }) => {
  await visit(page);
  const { id2label } = JSON.parse(readFileSync(join(MODEL, 'config.json'), 'utf8'));
  const names = Object.keys(id2label).map((i) => `Named ${i}`);
  const labels = (lines) => ({ name: 'labels.txt', mimeType: 'text/plain', buffer: Buffer.from(lines.join('\n')) });
  const weights = { name: 'best.safetensors', mimeType: 'application/octet-stream', buffer: readFileSync(join(MODEL, 'model.safetensors')) };
  await page.setInputFiles('#model-files', [weights, labels(names.slice(1))]);
  await expect(page.getByRole('alert')).toContainText(`${names.length - 1} labels, the checkpoint has ${names.length} classes`);
  await page.setInputFiles('#model-files', [weights, labels(names)]);
  await expect(page.locator('#model-labels li').first()).toHaveText('Named 0');
  await choose(page, demoFile);
  await state(page, 'result');
  await expect(page.locator('#scores li').first()).toContainText('Named');
  await expect(page.locator('#notes'), 'what it does not tell').not.toBeEmpty();
  // PyTorch's own files, of a few tensors.
  for (const kind of ['zip', 'legacy']) {
    const name = `checkpoint_${kind}.pth.tar`;
    await page.setInputFiles('#model-files', join(import.meta.dirname, '../fixtures/golden', name));
    await expect(page.getByRole('alert')).toContainText('is the state dict whole?');
    await page.getByRole('button', { name: 'Back to the last result' }).click();
    await state(page, 'result');
  }
});

for (const [cores, name] of BUILDS) {
  test(`after a trap in the module the next file works, with ${name}`, async ({ page }) => {
    test.skip(cores > 1 && Boolean(NO_THREADS), NO_THREADS);
    // What a panic or a runaway allocation of a demuxer ends in, made to happen on demand.
    await page.route('**/motion_web.js', async (route) => {
      const response = await route.fetch();
      const trap = `
        const open = Session.prototype.open;
        Session.prototype.open = function (blob, name) {
          if (name.startsWith('trap')) throw new WebAssembly.RuntimeError('unreachable');
          return open.call(this, blob, name);
        };`;
      await route.fulfill({ response, body: await response.text() + trap });
    });
    await withCores(page, cores);
    await visit(page);
    const found = await outcome(page, { name: 'trap.mp4', mimeType: 'video/mp4', buffer: readFileSync(demoFile) });
    expect(found.state).toBe('error');
    expect(found.text).toMatch(/The analysis stopped/);
    expect(found.text, 'a sentence for people').not.toMatch(FOR_PROGRAMMERS);
    await expectNextFileWorks(page);
  });

  test(`every hostile file of the developers’ data is survived, with ${name}`, async ({ page }) => {
    test.skip(cores > 1 && Boolean(NO_THREADS), NO_THREADS);
    const files = sharedFiles('hostile');
    test.skip(files.length === 0, 'skipped: no ../shared/data/hostile');
    test.setTimeout(files.length * SECONDS * 1000);
    await withCores(page, cores);
    await visit(page);
    for (const file of files) {
      const start = Date.now();
      const found = await outcome(page, file);
      console.log(`${basename(file)} | ${found.state} | ${found.text} | ${((Date.now() - start) / 1000).toFixed(1)} s`);
      expect(found.text).toMatch(/\w/);
      expect(found.text).not.toMatch(FOR_PROGRAMMERS);
    }
    await expectNextFileWorks(page);
  });
}
