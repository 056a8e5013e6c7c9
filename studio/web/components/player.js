// A player of films that may still grow. Given by Gradio: element, props, trigger, server, watch.
// `props.value` says what there is (Film.value()); the pictures are fetched with server.pull, decoded a little ahead of
// the playhead and drawn for all tracks in the same animation frame.
const AHEAD = 10; // pictures decoded before they are shown
const KEPT = 24; // decoded pictures kept per track; the rest stays JPEG
const PATIENCE_MS = 20000; // for one answer of the server
const POLL_MS = 1500; // a growing film is asked for at least this often, in case an update got lost
const ASK_AGAIN_MS = 5000; // a hungry player repeats itself

const $ = (selector) => element.querySelector(selector);
const root = $(".player"), stage = $(".stage"), scrubber = $(".scrubber"), said = $(".said");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
root.setAttribute("aria-label", props.label);
stage.setAttribute("aria-label", `${props.label}. Space plays, arrow keys step.`);
stage.style.setProperty("--aspect", props.aspect);

let film = null; // { run, rate, start, first, expected, notes, tracks: [track] }
let at = 0; // playhead in frames; its floor is the frame shown
let playing = false, following = false, dirty = false, ticking = false, last = 0;
let pulling = false, failures = 0, pulledAt = 0, askedAt = 0, askedFor = -1;

// ---- what there is -------------------------------------------------------------------------------------------------

function take(value) {
  if (!value) return clear();
  if (!film || film.run !== value.run) begin(value);
  film.first = value.first;
  film.expected = value.expected;
  const grown = JSON.stringify(value.notes) !== JSON.stringify(film.notes);
  film.notes = value.notes;
  for (const about of value.tracks) {
    const track = film.tracks.find((t) => t.name === about.name);
    track.count = Math.max(track.count, about.count);
    track.done = about.done;
    if (about.size[0]) track.frame.style.setProperty("--aspect", about.size[0] / about.size[1]);
    for (const i of track.jpegs.keys()) if (i < film.first) track.jpegs.delete(i);
  }
  if (grown) showNotes();
  pull();
  wake();
}

function begin(value) {
  const off = new Set(film ? film.tracks.filter((t) => !t.on).map((t) => t.name) : []);
  clear();
  film = { run: value.run, rate: value.rate_hz, start: value.start_s, first: 0, notes: [], tracks: [] };
  for (const about of value.tracks) film.tracks.push(newTrack(about, !off.has(about.name)));
  if (film.tracks.every((t) => !t.on)) film.tracks.forEach((t) => (t.on = true));
  stage.style.setProperty("--columns", value.columns);
  showChips();
  at = 0;
  following = value.tracks.some((t) => !t.done);
  playing = !calm.matches && (following || value.tracks.some((t) => t.count > 1));
  askedFor = -1;
}

function clear() {
  if (film) for (const track of film.tracks) for (const picture of track.pictures.values()) picture.close?.();
  film = null;
  playing = following = false;
  stage.replaceChildren();
  $(".chips").replaceChildren();
  $(".notes").replaceChildren();
  said.textContent = "";
  wake();
}

function newTrack(about, on) {
  const frame = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", about.alt);
  caption.textContent = about.label;
  frame.append(caption, canvas);
  stage.append(frame);
  sizes.observe(canvas);
  return { ...about, on, count: 0, frame, canvas, caption, jpegs: new Map(), pictures: new Map(), decoding: new Set(),
    next: 0, drawn: -2 };
}

const shown = () => film.tracks.filter((t) => t.on);
const growing = () => film && film.tracks.some((t) => !t.done);

/** How many frames can be shown now: as many as every growing track has; when none grows, as many as the longest. */
function ready() {
  const tracks = shown(), open = tracks.filter((t) => !t.done || t.next < t.count);
  if (!tracks.length) return 0;
  return open.length ? Math.min(...open.map((t) => t.next)) : Math.max(...tracks.map((t) => t.next));
}

const total = () => Math.max(film.expected || 0, ...film.tracks.map((t) => t.count), 1);
const seconds = (frame) => film.start + frame / film.rate;
const spoken = (s) => (Math.abs(s) < 0.05 ? "now" : `${s < 0 ? "−" : "+"}${Math.abs(s).toFixed(1)} s`);

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
  return track.jpegs.has(i) || i >= track.next ? (i >= track.next && track.done ? null : undefined) : null;
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

// ---- drawing -------------------------------------------------------------------------------------------------------

function wake() {
  dirty = true;
  if (ticking) return;
  ticking = true;
  requestAnimationFrame(tick);
}

function tick(now) {
  ticking = false;
  if (!element.isConnected) return;
  const elapsed = Math.min(0.25, (now - last) / 1000);
  last = now;
  if (film && stage.offsetParent !== null) {
    if (playing) advance(elapsed);
    draw();
    feed(now);
  }
  if (dirty) controls();
  dirty = false;
  if (playing && film) wake();
}

function advance(elapsed) {
  const end = ready() - 1;
  if (end < 0) return;
  const next = Math.min(end, at + elapsed * film.rate * Number($(".speed").value) * pace(end));
  if (shown().every((t) => picture(t, Math.floor(next)) !== undefined)) at = Math.max(next, film.first);
  else decodeAround(Math.floor(next)); // hold until every track can show it
  if (at < end || growing()) return;
  if ($(".repeat input").checked && end > 0) at = film.first;
  else playing = false;
}

/** Slower when little is left to play while a film grows, faster when much is: steady instead of stop and go. */
function pace(end) {
  if (!following || !growing()) return 1;
  const left = end + 1 - at, wished = Math.max(4, film.rate / 2);
  return Math.min(1.5, Math.max(0.25, left / wished));
}

function draw() {
  const i = Math.max(film.first, Math.min(Math.floor(at), total() - 1));
  decodeAround(i);
  const tracks = shown();
  if (tracks.some((t) => picture(t, i) === undefined)) return; // the last moment stays until the new one is whole
  for (const track of tracks) {
    if (track.drawn === i) continue;
    track.drawn = i;
    paint(track, picture(track, i));
    track.frame.classList.toggle("imagined", Boolean(track.imagined) && seconds(i) > 0.01);
    dirty = true;
  }
}

function paint(track, bitmap) {
  const { canvas } = track, context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  if (bitmap) context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  else context.clearRect(0, 0, canvas.width, canvas.height);
  track.frame.classList.toggle("none", !bitmap);
}

const sizes = new ResizeObserver((entries) => {
  const sharp = Math.min(2, window.devicePixelRatio || 1);
  for (const { target, contentRect } of entries) {
    const width = Math.round(contentRect.width * sharp), height = Math.round(contentRect.height * sharp);
    if (!width || !height || (target.width === width && target.height === height)) continue;
    [target.width, target.height] = [width, height];
    film?.tracks.forEach((t) => t.canvas === target && (t.drawn = -2));
  }
  wake();
});

// ---- a live drive --------------------------------------------------------------------------------------------------

function feed(now) {
  if (!props.hungry || !playing || !growing() || document.hidden) return;
  const have = Math.min(...film.tracks.map((t) => t.count));
  if (have - Math.floor(at) - 1 >= props.hungry) return;
  if (askedFor === have && now - askedAt < ASK_AGAIN_MS) return;
  askedFor = have;
  askedAt = now;
  trigger("input");
}

// ---- controls ------------------------------------------------------------------------------------------------------

const ICONS = { play: "M8 5v14l11-7z", pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z", back: "M7 5h2.5v14H7zM19 5v14l-9-7z",
  forth: "M14.5 5H17v14h-2.5zM5 5v14l9-7z", large: "M4 4h7v2.2H6.2V11H4zM13 17.8h4.8V13H20v7h-7z" };

function icon(button, name) {
  if (button.dataset.icon === name) return;
  button.dataset.icon = name;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  button.replaceChildren(svg);
}

function controls() {
  const count = film ? total() : 1, end = film ? Math.max(0, ready() - 1) : 0, i = Math.floor(at);
  const still = !film || (count < 2 && !growing());
  for (const button of ["back", "play", "forth"]) $(`.${button}`).disabled = still;
  scrubber.disabled = still;
  scrubber.max = Math.max(1, count - 1);
  scrubber.min = 0;
  if (Number(scrubber.value) !== i) scrubber.value = i;
  const share = (frame) => `${(100 * Math.max(0, Math.min(1, frame / Math.max(1, count - 1)))).toFixed(2)}%`;
  const now = film ? -film.start * film.rate : 0, inside = film && count > 1 && now > 0 && now < count - 1;
  scrubber.style.setProperty("--now", film?.tracks.some((t) => t.imagined) ? share(now) : "100%");
  scrubber.style.setProperty("--end", share(end));
  $(".now").hidden = !inside;
  $(".now").style.setProperty("--at", share(now).replace("%", ""));
  const time = film && ready() ? spoken(seconds(i)) : "";
  $(".clock").textContent = time;
  $(".last").textContent = film && count > 1 ? spoken(seconds(count - 1)) : "";
  scrubber.setAttribute("aria-valuetext", time || "nothing to play");
  icon($(".play"), playing ? "pause" : "play");
  $(".play").setAttribute("aria-label", playing ? "Pause" : "Play");
  root.dataset.frame = film && ready() ? i : "";
  root.dataset.ready = film ? ready() : 0;
  root.dataset.playing = playing;
}

function showChips() {
  const chips = film.tracks.map((track) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = track.on;
    track.frame.hidden = !track.on;
    label.append(box, ` ${track.label}`);
    box.addEventListener("change", () => {
      track.on = box.checked || shown().length === 1; // one always stays
      box.checked = track.on;
      track.frame.hidden = !track.on;
      track.drawn = -2;
      wake();
    });
    return label;
  });
  $(".chips").replaceChildren(...(chips.length > 1 ? chips : []));
}

function showNotes() {
  const whole = Math.max(1, total() - 1), begins = seconds(0), length = whole / film.rate;
  const strips = film.notes.map(([from, text], k) => {
    const strip = document.createElement("span");
    const until = k + 1 < film.notes.length ? film.notes[k + 1][0] : begins + length;
    strip.setAttribute("role", "listitem");
    strip.style.flexGrow = Math.max(0.001, until - Math.max(from, begins));
    strip.textContent = strip.title = text;
    return strip;
  });
  if (film.notes.length && film.notes[0][0] > begins) {
    const gap = document.createElement("span");
    gap.className = "gap";
    gap.style.flexGrow = film.notes[0][0] - begins;
    strips.unshift(gap);
  }
  $(".notes").replaceChildren(...strips);
}

function toggle() {
  if (!film || $(".play").disabled) return;
  playing = !playing;
  if (playing && !growing() && at >= ready() - 1) at = film.first;
  if (playing) following = growing();
  last = performance.now();
  wake();
}

function seek(frame) {
  if (!film || scrubber.disabled) return;
  at = Math.max(film.first, Math.min(ready() - 1, frame));
  playing = following = false;
  wake();
}

$(".play").addEventListener("click", toggle);
$(".back").addEventListener("click", () => seek(Math.floor(at) - 1));
$(".forth").addEventListener("click", () => seek(Math.floor(at) + 1));
scrubber.addEventListener("input", () => seek(Number(scrubber.value)));
stage.addEventListener("dblclick", toggle);
$(".large").addEventListener("click", () =>
  document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.());
root.addEventListener("keydown", (event) => {
  if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowLeft: () => seek(Math.floor(at) - 1), ArrowRight: () => seek(Math.floor(at) + 1),
    Home: () => seek(0), End: () => seek(Infinity), " ": toggle };
  const arrow = event.key.startsWith("Arrow");
  if (!steps[event.key] || (arrow && props.hungry && growing())) return; // while driving the arrows steer
  event.preventDefault();
  steps[event.key]();
});

icon($(".back"), "back");
icon($(".forth"), "forth");
icon($(".large"), "large");
const watchdog = setInterval(() => (element.isConnected ? (pull(), wake()) : clearInterval(watchdog)), POLL_MS);
watch("value", () => take(props.value));
take(props.value);
