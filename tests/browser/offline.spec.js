// Does the page work without a network, from the second visit on?

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { demo, expect, save, state, test, visit } from './support.js';
import { xtask } from './xtask.js';

test.use({ serviceWorkers: 'allow' });

test('after one visit nothing needs the server', async ({ page }) => {
  const server = spawn(`exec ${xtask} serve --no-build --port 0`, { cwd: '../..', shell: true });
  const [said] = await once(server.stdout, 'data');
  const [url] = said.toString().match(/http:\/\/[\d.:]+\//);
  try {
    await visit(page, url);
    await expect(page.locator('#offline')).toBeVisible();
  } finally {
    server.kill();
    await once(server, 'close');
  }
  await expect(fetch(url)).rejects.toThrow();
  for (const address of [url, `${url}?backend=cpu#clip=${demo.file}`]) {
    await page.goto('about:blank');
    await visit(page, address);
    if (!address.includes('#')) await page.selectOption('#demo-select', { label: demo.title });
    await state(page, 'result');
    await expect(page.locator('#clip-name')).toHaveText(demo.title);
    await expect(page.locator('#scores li')).not.toHaveCount(0);
    expect(await save(page, 'GIF')).toMatch(/\.gif$/);
  }
});

test('where the browser has no room the page works, and promises nothing', async ({ page }) => {
  const client = await page.context().newCDPSession(page);
  await client.send('Storage.overrideQuotaForOrigin', { origin: new URL(process.env.MOTIONLENS_URL).origin, quotaSize: 100_000 });
  const answered = page.waitForEvent('console', (message) => message.text() === 'kept: false');
  await page.addInitScript(() => navigator.serviceWorker.addEventListener('message', ({ data }) => console.log(`kept: ${data.kept}`)));
  await visit(page);
  await answered;
  await expect(page.locator('#offline')).toBeHidden();
  await page.selectOption('#demo-select', { label: demo.title });
  await state(page, 'result');
});

test('the page can be installed', async ({ page }) => {
  await visit(page);
  const client = await page.context().newCDPSession(page);
  const { errors } = await client.send('Page.getAppManifest');
  expect(errors).toEqual([]);
  const { installabilityErrors } = await client.send('Page.getInstallabilityErrors');
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito')).toEqual([]);
});
