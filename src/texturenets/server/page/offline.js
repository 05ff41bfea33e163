// Keeps the page's files, so that it works without a connection once it was loaded. files.json names what is needed.
const MINE = `texturenets-${registration.scope}-`; // other pages of the same origin have caches of their own
const KEPT = `${MINE}VERSION`;

// The file names of a list, as addresses that are asked for anew: the browser's own cache may hold older ones.
const requests = (names) =>
  names.map((name) => new Request(name.split("/").map(encodeURIComponent).join("/"), { cache: "reload" }));

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const names = await (await fetch("files.json", { cache: "no-cache" })).json();
      await (await caches.open(KEPT)).addAll(requests(names));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith(MINE) && name !== KEPT) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(KEPT);
      const kept = await cache.match(event.request, { ignoreSearch: true });
      if (kept) return kept;
      const answer = await fetch(event.request);
      if (answer.ok) cache.put(event.request, answer.clone()); // the runtime for WebGPU
      return answer;
    })(),
  );
});
