// Fetching and decoding the pictures of player.js, whose `film` they belong to: a track's `jpegs` by frame, `next` (the
// first frame that is lacking) and `pictures`, decoded ones around the playhead.
const AHEAD = 10; // pictures decoded before they are shown
const KEPT = 24; // decoded pictures kept per track; the rest stays JPEG
const PATIENCE_MS = 20000; // for one answer of the server
const POLL_MS = 1500; // a growing film is asked for at least this often, in case an update got lost

let pulling = false, failures = 0, pulledAt = 0;

// ---- fetching ------------------------------------------------------------------------------------------------------

async function pull() {
  if (pulling || !film || !element.isConnected) return;
  if (film.tracks.every((t) => t.next >= t.count) && !(growing() && performance.now() - pulledAt > POLL_MS)) return;
  pulling = true;
  pulledAt = performance.now();
  const run = film.run;
  try {
    const have = Object.fromEntries(film.tracks.map((t) => [t.name, t.next]));
    const answer = await within(server.pull({ run, have }), PATIENCE_MS);
    failures = 0;
    if (film && film.run === run) answer.gone ? lost() : receive(answer);
  } catch {
    failures += 1;
    said.textContent = "No answer; trying again …";
  }
  pulling = false;
  setTimeout(pull, failures ? Math.min(8000, 400 * 2 ** failures) : 0);
}

function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("late")), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function receive(answer) {
  said.textContent = "";
  for (const track of film.tracks) {
    const { from, jpegs } = answer.frames[track.name];
    jpegs.forEach((text, k) => text && track.jpegs.set(from + k, blobOf(text)));
    track.next = Math.max(track.next, from + jpegs.length);
  }
  take(answer.film);
}

function lost() {
  film.tracks.forEach((t) => ((t.done = true), (t.count = t.next)));
  said.textContent = film.tracks.some((t) => t.next) ? "" : "These frames are no longer kept. Start again.";
}

function blobOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Blob([bytes], { type: "image/jpeg" });
}

// ---- decoding ------------------------------------------------------------------------------------------------------

/** The picture of a track at a frame: decoded, null where the track has none, undefined while it is being decoded. */
function picture(track, i) {
  if (track.pictures.has(i)) return track.pictures.get(i);
  return track.jpegs.has(i) || i >= track.next ? (i >= track.count && track.done ? null : undefined) : null;
}

function decode(track, i) {
  const blob = track.jpegs.get(i);
  if (!blob || track.pictures.has(i) || track.decoding.has(i)) return;
  track.decoding.add(i);
  createImageBitmap(blob).catch(() => null).then((bitmap) => {
    track.decoding.delete(i);
    if (!film || !film.tracks.includes(track)) return bitmap?.close();
    track.pictures.set(i, bitmap);
    wake();
  });
}

function decodeAround(i) {
  for (const track of shown()) {
    for (let k = i; k < i + AHEAD; k++) decode(track, k);
    if (track.pictures.size <= KEPT) continue;
    for (const [k, bitmap] of track.pictures) {
      if (k >= i - 4 && k < i + AHEAD) continue;
      bitmap?.close();
      track.pictures.delete(k);
    }
  }
}
