// The page without a network. In: requests of the page and its worker, and which files they took. Out: what the server has
// now; where it cannot be reached, what it had the last time.

const KEPT = 'motionlens-site';

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method === 'GET' && new URL(request.url).origin === location.origin) event.respondWith(answer(event));
});

// {urls}: files of this site that came before this worker did.
addEventListener('message', (event) => {
  const { data: { urls }, source } = event;
  event.waitUntil(Promise.all(urls.map(async (url) => keep(url, await fetch(url))))
    .then(() => source.postMessage({ kept: true }), () => source.postMessage({ kept: false })));
});

async function answer(event) {
  const { request } = event;
  try {
    const response = await fetch(request);
    // No room is no reason to fail: the network is there.
    event.waitUntil(keep(request, response.clone()).catch(() => {}));
    return response;
  } catch {
    // What stands after ? in the page's own address is for the page.
    const options = { ignoreSearch: request.mode === 'navigate', ignoreVary: true };
    return (await caches.match(request, options)) ?? Response.error();
  }
}

async function keep(request, response) {
  if (response.status !== 200) return;
  const cache = await caches.open(KEPT);
  const known = await cache.match(request);
  const version = ({ headers }) => headers.get('etag') ?? headers.get('last-modified');
  if (!known || !version(known) || version(known) !== version(response)) await cache.put(request, response);
}
