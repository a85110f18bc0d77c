// How the browser tests run: one Chromium after another, against the page as `cargo xtask serve` serves it.
import { defineConfig } from '@playwright/test';
import { QUIET } from '../chromium.mjs';
import { xtask } from './xtask.js';

export default defineConfig({
  testDir: '.',
  testIgnore: process.env.VIEWS ? [] : ['views.spec.js'], // pictures for eyes, on demand
  outputDir: 'results/files',
  workers: 1, // the network takes all cores there are
  retries: 0,
  timeout: 120_000,
  globalTimeout: 40 * 60_000,
  expect: { timeout: 60_000 },
  reporter: [['list'], ['json', { outputFile: 'results/results.json' }]],
  use: {
    viewport: { width: 1280, height: 800 },
    serviceWorkers: 'block', // they would answer in place of a test's routes; offline.spec.js lets them in
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: QUIET,
    },
  },
  webServer: {
    command: `${xtask} serve --no-build --port 0`,
    cwd: '../..',
    wait: { stdout: /(?<motionlens_url>http:\/\/[\d.:]+\/)/ }, // becomes process.env.MOTIONLENS_URL
    timeout: 300_000, // cargo may have to compile xtask first
  },
});
