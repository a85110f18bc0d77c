// The contestants that run in a browser, all in one Chromium.
// In: the address of page.html, the contestants (as worker.js takes them) and Chromium's further flags, both as JSON, and
// for each answer one line on standard input: the contestant's position and what is asked, 'run' or 'layers'. Out: one
// line of JSON for each, to 'run' as contestant.py writes it.
import { createInterface } from 'node:readline';
import { launch } from './chromium.js';

const [address, contestants, flags] = process.argv.slice(2);
const browser = await launch(JSON.parse(flags));
try {
  const page = await browser.newPage();
  page.on('console', (message) => console.error(message.text()));
  await page.goto(address);
  await page.evaluate((contestants) => window.start(contestants), JSON.parse(contestants));
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await page.evaluate(([index, what]) => window.ask(index, what), line.split(' '))));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
