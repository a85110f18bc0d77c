// What the browser tests share: a page that is watched, videos to give it, and the native program to compare with.

import { test as base, expect } from '@playwright/test';
import { unzipSync } from 'fflate';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QUIET, SWIFTSHADER, SWIFTSHADER_GRAPHICS } from '../chromium.mjs';
import config from './playwright.config.js';

const ROOT = join(import.meta.dirname, '../..');
const SHARED = join(ROOT, '../shared/data');

export const MODEL = join(ROOT, 'web/models/default');
export const scratch = mkdtempSync(join(tmpdir(), 'motionlens-'));
const { launchOptions } = config.use;
export { expect };

// Every test ends with the questions that hold for all: was there an error in the console, did anything ask another host?
export const test = base.extend({
  page: async ({ page }, use) => {
    const watched = watch(page);
    await use(page);
    expect(watched, 'errors in the console, and requests to other hosts').toEqual([]);
  },
});

export function watch(page) {
  const complaints = [];
  page.on('console', (message) => {
    const blocked = message.text() === 'Service Worker registration blocked by Playwright'; // as its settings ask
    if (['error', 'warning'].includes(message.type()) && !blocked) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    const here = ['blob:', 'data:'].includes(url.protocol) || url.hostname === '127.0.0.1';
    if (!here || request.method() !== 'GET') complaints.push(`request: ${request.method()} ${request.url()}`);
  });
  return complaints;
}

// The page with its model, ready for a video.
export async function visit(page, url = process.env.MOTIONLENS_URL) {
  await page.goto(url);
  await expect(page.locator('#model-name')).toHaveText(/net/);
}

// Chromium with WebGPU, and with graphics of its own.
export const withWebGpu = { ...launchOptions, args: [...QUIET, ...SWIFTSHADER] };
export const withGraphics = { ...launchOptions, args: [...QUIET, ...SWIFTSHADER_GRAPHICS] };

// What a worker does first where WebGPU runs: errors that nobody caught become errors in the console, which no test may leave behind.
export const watchGpu = `{
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...all) {
    const device = await requestDevice.apply(this, all);
    self.device = device;
    device.addEventListener('uncapturederror', ({ error }) => console.error('of the GPU: ' + error.message));
    return device;
  };
}`;

// The module with threads is there only where nightly Rust is.
export const NO_THREADS = existsSync(join(ROOT, 'web/pkg-threads/motion_web_bg.wasm'))
  ? '' : 'skipped: web/pkg-threads is not built, for want of a nightly Rust';
if (NO_THREADS) console.log(NO_THREADS);

// The modules to ask the same questions of: cores that the page's worker finds, and what it says that it runs on.
export const BUILDS = [[1, '1 thread'], [2, '2 threads']];

// Makes the page's worker find so many cores, and so use as many threads (up to four).
export const withCores = (page, cores) => replaceWorker(page, (worker) =>
  `Object.defineProperty(navigator, 'hardwareConcurrency', { value: ${cores} });\n${worker}`);

// The page as a web host serves it that knows nothing of isolation.
export async function withoutIsolation(page) {
  await page.route(process.env.MOTIONLENS_URL, async (route) => {
    const response = await route.fetch();
    const { 'cross-origin-opener-policy': _, 'cross-origin-embedder-policy': __, ...headers } = response.headers();
    await route.fulfill({ response, headers });
  });
}

// The page with a worker that answers at once (fake-worker.js).
export async function visitWithoutNetwork(page, url) {
  await replaceWorker(page, () => readFileSync(join(import.meta.dirname, 'fake-worker.js'), 'utf8'));
  await visit(page, url);
}

export async function replaceWorker(page, change) {
  await page.route('**/worker.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: change(await response.text()) });
  });
}

export const state = (page, wanted, options) => expect(page.locator('body')).toHaveAttribute('data-state', wanted, options);

export const choose = (page, file) => page.setInputFiles('#video-file', file);

// A file that exists only in the test.
export const made = (name, content = 'x') => ({ name, mimeType: 'video/mp4', buffer: Buffer.from(content) });

// Let go of a file over the page, as a hand would.
export async function drop(page, { name, buffer }) {
  const transfer = await page.evaluateHandle(([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    return transfer;
  }, [name, buffer.toString('base64')]);
  await page.dispatchEvent('#hero', 'dragover', { dataTransfer: transfer });
  await page.dispatchEvent('#hero', 'drop', { dataTransfer: transfer });
}

// ---------------------------------------------------------------- videos

const clips = JSON.parse(readFileSync(join(ROOT, 'web/clips/index.json'), 'utf8'));
export const demos = clips.filter(({ fails }) => !fails);
export const failures = clips.filter(({ fails }) => fails);
export const demo = demos[0];
export const demoFile = join(ROOT, 'web/clips', demo.file);

// Files of the developers' data, which a clone of the repository does not have.
export function sharedFiles(folder) {
  const path = join(SHARED, folder);
  return existsSync(path) ? readdirSync(path).filter((name) => !name.endsWith('.md')).map((name) => join(path, name)) : [];
}

export function ffmpeg(name, ...args) {
  const file = join(scratch, name);
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...args, file]);
  return file;
}

// ---------------------------------------------------------------- the native program

const program = process.env.MOTIONLENS ?? join(ROOT, 'target/release/motionlens');

export function motionlens(...args) {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

// Each line that it says with --json.
export const said = (...args) => execFileSync(program, args, { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim().split('\n').map(JSON.parse);

// Save what the page computed, and let the native program compute the same from the same clip, on the CPU.
export async function savedResults(page, model, estimator) {
  const files = {};
  const saved = new Promise((resolve) => page.on('download', async (download) => {
    const path = join(scratch, `${estimator}-${download.suggestedFilename()}`);
    await download.saveAs(path);
    files[download.suggestedFilename()] = path;
    if (Object.keys(files).length === 3) resolve();
  }));
  await page.locator('#save').evaluate((details) => { details.open = true; });
  await page.getByRole('button', { name: '.safetensors' }).click();
  await saved;
  page.removeAllListeners('download');
  const out = join(scratch, `native-${estimator}.safetensors`);
  motionlens('forward', '--model', model, '--clip', files['clip.safetensors'], '--out', out, '--estimator', estimator, '--backend', 'cpu');
  return {
    page: tensors(files['results.safetensors']),
    native: tensors(out),
    clip: tensors(files['clip.safetensors']),
    facts: JSON.parse(readFileSync(files['results.json'], 'utf8')),
  };
}

// Save something that is shown: the path of the file.
export async function save(page, button) {
  await page.locator('#save').evaluate((details) => { details.open = true; });
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button, exact: true }).click()]);
  const path = join(scratch, download.suggestedFilename());
  await download.saveAs(path);
  return path;
}

// Names and numbers of a NumPy archive of f32.
export function arrays(file) {
  return Object.fromEntries(Object.entries(unzipSync(readFileSync(file))).map(([name, npy]) => {
    const start = 10 + new DataView(npy.buffer, npy.byteOffset).getUint16(8, true);
    return [name.replace('.npy', ''), new Float32Array(npy.slice(start).buffer)];
  }));
}

const ARRAYS = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array, U8: Uint8Array };

// Names and values of a safetensors file: its length, its header, its numbers.
export function tensors(file) {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, start).toString());
  delete header.__metadata__;
  return Object.fromEntries(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const copy = Uint8Array.from(bytes.subarray(start + from, start + to));
    return [name, { shape, values: new ARRAYS[dtype](copy.buffer) }];
  }));
}

// And back: tensors of f32 as a safetensors file.
export function safetensors(tensors) {
  const all = Object.entries(tensors);
  let end = 0;
  const header = JSON.stringify(Object.fromEntries(all.map(([name, { shape, values }]) =>
    [name, { dtype: 'F32', shape, data_offsets: [end, (end += values.byteLength)] }])));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  const bytes = ({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return Buffer.concat([length, Buffer.from(header), ...all.map(([, tensor]) => bytes(tensor))]);
}
