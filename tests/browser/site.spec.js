// Does the static site work from a sub-path of a plain web host, without special headers?

import { execSync } from 'node:child_process';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { demo, expect, MODEL, scratch, state, test, visit } from './support.js';
import { xtask } from './xtask.js';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm' };

test('the static site works from a sub-path', async ({ page }) => {
  const folder = join(scratch, 'site');
  execSync(`${xtask} site --no-build --out "${folder}"`, { cwd: '../..', stdio: 'pipe' });
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://x').pathname.replace(/\/$/, '/index.html');
    const file = join(folder, path.replace(/^\/some\/where/, ''));
    if (!path.startsWith('/some/where/') || !statSync(file, { throwIfNoEntry: false })) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  try {
    await visit(page, `http://127.0.0.1:${server.address().port}/some/where/`);
    await page.selectOption('#demo-select', { label: demo.title });
    await state(page, 'result');
    await expect(page.locator('#scores li')).not.toHaveCount(0);
  } finally {
    server.closeAllConnections();
  }
  expect(statSync(join(folder, '.nojekyll')).isFile()).toBe(true);
});

test('a model that comes slowly says how far it is, one that breaks off says that', async ({ page }) => {
  const weights = readFileSync(join(MODEL, 'model.safetensors'));
  const half = weights.length >> 1;
  let rest;
  await page.route('**/models/default/*', (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop();
    return route.continue({ url: `http://127.0.0.1:${server.address().port}/${name}` });
  });
  const server = createServer((request, response) => {
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (request.url.endsWith('config.json')) return void createReadStream(join(MODEL, 'config.json')).pipe(response);
    response.writeHead(200, { 'Content-Length': weights.length });
    response.write(weights.subarray(0, half));
    rest = response;
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  try {
    await page.goto(process.env.MOTIONLENS_URL);
    await expect(page.locator('#model-name')).toHaveText(new RegExp(`loading the model, [\\d.]+ of ${megabytes(weights.length)} MB`));
    rest.end(weights.subarray(half));
    await expect(page.locator('#model-name')).toHaveText(/net/);
    await page.goto('about:blank');
    await page.goto(process.env.MOTIONLENS_URL);
    await expect(page.locator('#model-name')).toHaveText(/ MB/);
    rest.destroy();
    await expect(page.getByRole('alert')).toContainText(/model.safetensors stopped after \d+ bytes/);
  } finally {
    server.closeAllConnections();
  }
});
