// The workers behind the threads of threads.rs. This file starts them, and is what each of them runs.

const THREAD = 'motion-web thread';
const SECONDS = 10;

let workers = []; // kept: Firefox would collect a worker that nobody holds

// Start so many, and make a pool of them (`build`) once each waits for work. If one cannot start, none stays.
export async function startThreads(count, module, memory, build) {
  workers = Array.from({ length: count }, () => new Worker(import.meta.url, { type: 'module', name: THREAD }));
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`they did not start within ${SECONDS} seconds`)), SECONDS * 1000);
  });
  try {
    await Promise.race([late, Promise.all(workers.map((worker) => started(worker, { module, memory })))]);
    build();
  } catch (error) {
    for (const worker of workers) worker.terminate();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function started(worker, message) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data: { problem } }) => (problem ? reject(new Error(problem)) : resolve());
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message || 'a worker did not load'));
    };
    worker.postMessage(message);
  });
}

async function run({ data: { module, memory } }) {
  try {
    const { default: init, runThread } = await import('../../../motion_web.js');
    await init({ module_or_path: module, memory });
    self.postMessage({});
    runThread();
  } catch (error) {
    self.postMessage({ problem: String(error) });
  }
}

if (self.name === THREAD) self.onmessage = run;
