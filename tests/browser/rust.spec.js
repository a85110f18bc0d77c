// Do Rust's own tests pass in the browser: every kernel against its twin on WebGPU; convolutions, correlation and
// gradients on simd128, with relaxed SIMD and without? `cargo xtask test browser` compiles them into modules/.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, watchGpu, withWebGpu } from './support.js';

const MODULES = join(import.meta.dirname, 'modules');

test.use({ launchOptions: withWebGpu });

// Runs the tests of one program: {module, file} in, how many there were and whether all passed out.
const WORKER = `${watchGpu}
self.onmessage = async ({ data: { module, file } }) => {
  self.__wbg_test_invoke = (test) => test();
  self.__wbg_test_output_writeln = (line) => console.log(line);
  try {
    const program = await import('/modules/' + module + '.js');
    const exports = await program.default({ module_or_path: '/modules/' + file });
    const tests = Object.keys(exports).filter((name) => name.startsWith('__wbgt_'));
    const passed = await new program.WasmBindgenTestContext(false).run(tests.map((name) => exports[name]));
    self.postMessage({ count: tests.length, passed });
  } catch (error) {
    self.postMessage({ count: 0, passed: false, error: String(error) });
  }
};`;

async function run(page, module, file) {
  const lines = [];
  page.on('console', (message) => {
    lines.push(message.text());
    console.log(message.text());
  });
  const isolated = { 'cross-origin-embedder-policy': 'require-corp' };
  await page.route('**/modules/**', (route) => {
    const path = new URL(route.request().url()).pathname.replace('/modules/', '');
    const contentType = path.endsWith('.wasm') ? 'application/wasm' : 'text/javascript';
    return route.fulfill({ contentType, headers: isolated, body: path === 'worker.js' ? WORKER : readFileSync(join(MODULES, path)) });
  });
  await page.goto(`${process.env.MOTIONLENS_URL}clips/index.json`);
  const result = await page.evaluate((message) => new Promise((resolve, reject) => {
    const worker = new Worker('/modules/worker.js', { type: 'module' });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message ?? 'the worker did not start'));
    worker.postMessage(message);
  }), { module, file });
  return { ...result, output: lines.join('\n') };
}

const programs = (existsSync(MODULES) ? readdirSync(MODULES, { recursive: true }) : [])
  .filter((name) => name.endsWith('.js')).map((name) => name.slice(0, -'.js'.length));

test('the programs are there', () => {
  expect(programs.sort()).toEqual([
    'motion-kernels/conv', 'motion-kernels/correlation', 'motion-kernels/gradients', 'tests/gradients', 'tests/operations', 'tests/pixels',
    'tests/twins',
  ]);
});

for (const module of programs) {
  // What runs on the graphics card is the same with both; of slopes of whole operations, whose kernels have tests of their own,
  // one is enough.
  for (const kind of /pixels|twins|tests.gradients/.test(module) ? ['relaxed'] : ['relaxed', 'bg']) {
    test(`${module}, ${kind === 'relaxed' ? 'with' : 'without'} relaxed SIMD`, async ({ page }) => {
      test.setTimeout(300_000); // a busy processor compiles kernels for minutes
      const { count, passed, error, output } = await run(page, module, `${module}_${kind}.wasm`);
      expect(error).toBeUndefined();
      expect(count).toBeGreaterThan(0);
      expect(passed).toBe(true);
      expect(output).not.toContain('skipped:');
    });
  }
}
