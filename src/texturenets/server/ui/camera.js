// The camera's images painted by the service, over its HTTP API: the next one is sent when the last one is back.
// It stands behind page/live.js in one script, which opens the camera and chooses the size.
const LONGEST_WAIT = 5; // seconds, where the service is busy and says that it will be for longer
const $ = (id) => document.getElementById(id);
let live = null;
let given = null; // an AbortController for the image that is at work

function endLive() {
  live?.stop();
  given?.abort();
  const held = document.activeElement === $("camera-stop");
  live = given = null;
  $("results").classList.remove("live");
  if (held) $("camera").focus({ preventScroll: true });
}

function failed(text) {
  endLive();
  window.texturenetsSay(text);
}

async function paint(image, canvas) {
  const mine = live;
  if ($("results").offsetParent === null) return endLive(); // another tab is on view
  try {
    given = new AbortController();
    const photo = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    const query = document.querySelector("#live-query [data-query]").dataset.query;
    const answer = await fetch(new URL(`../v1/stylize?${query}`, document.baseURI), {
      method: "POST", body: photo, headers: { "Content-Type": "image/jpeg" }, signal: given.signal });
    if (answer.status === 503) return busy(mine, Number(answer.headers.get("Retry-After")) || 1);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const made = await createImageBitmap(await answer.blob());
    if (live === mine) show(made);
  } catch (error) {
    if (live === mine) failed(error instanceof TypeError ? "The service does not answer: is it still running?" : `${error.message}.`);
  }
}

// The image stays, and the next one waits.
function busy(mine, seconds) {
  $("rate").textContent = "The service is busy: the next image waits.";
  setTimeout(() => live === mine && mine.next(), 1000 * Math.min(LONGEST_WAIT, seconds));
}

function show(made) {
  [$("live").width, $("live").height] = [made.width, made.height];
  $("live").getContext("2d").drawImage(made, 0, 0);
  live.painted();
  $("rate").textContent = `${live.pace()}${made.width} × ${made.height} pixels`;
}

window.texturenetsCamera = async () => {
  endLive();
  const mine = (live = new Live(paint, (text) => live === mine && failed(text)));
  $("rate").textContent = "The camera is opened.";
  $("results").classList.add("live");
  $("camera-stop").focus({ preventScroll: true });
  window.texturenetsSeen("results");
  await mine.start();
};
window.texturenetsCameraStop = endLive;
