// The contestants that run in a browser, all in one Chromium.
// In: the address of page.html, the contestants as JSON (as worker.js takes them), and for each run one line on standard
// input: the contestant's position. Out: one line of JSON for each run, as contestant.py writes it.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [address, contestants] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage();
  page.on('console', (message) => console.error(message.text()));
  await page.goto(address);
  await page.evaluate((contestants) => window.start(contestants), JSON.parse(contestants));
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await page.evaluate((index) => window.run(index), Number(line))));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
