// Use without a network, from the first visit on. In: the files that the worker took. Out: whether all are kept.

import { script } from './dom.js';

// Files of the site that page and worker took; resolves when all of them are kept, or will not be.
export async function keepForLater(files) {
  const container = navigator.serviceWorker; // absent where the connection is not a secure one
  if (!container) return false;
  await container.register(script('service-worker.js'));
  const { active } = await container.ready;
  if (!container.controller) await new Promise((resolve) => { container.addEventListener('controllerchange', resolve, { once: true }); });
  const kept = new Promise((resolve) => {
    container.addEventListener('message', ({ data }) => resolve(data.kept), { once: true });
    container.startMessages();
  });
  const taken = performance.getEntriesByType('resource').map(({ name }) => name);
  const site = new URL('./', document.baseURI).href;
  const urls = new Set([site, ...taken, ...files].filter((url) => url.startsWith(site)));
  active.postMessage({ urls: [...urls] });
  return kept;
}
