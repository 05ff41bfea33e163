// Keeps the page's files, so that it works without a connection once it was loaded. files.json names what is needed.
const KEPT = "texturenets-VERSION";

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const names = await (await fetch("files.json", { cache: "no-cache" })).json();
      await (await caches.open(KEPT)).addAll(names);
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith("texturenets-") && name !== KEPT) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith(
    (async () => {
      const kept = await caches.match(event.request, { ignoreSearch: true });
      if (kept) return kept;
      const answer = await fetch(event.request);
      if (answer.ok) (await caches.open(KEPT)).put(event.request, answer.clone()); // the runtime for WebGPU
      return answer;
    })(),
  );
});
