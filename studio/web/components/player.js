// A player of films that may still grow. Given by Gradio: element, props, trigger, server, watch.
// `props.value` says what there is (Film.value()); the pictures are fetched with server.pull, decoded a little ahead of
// the playhead (frames.js) and drawn for all tracks in the same animation frame.
const ASK_AGAIN_MS = 5000; // a hungry player repeats itself

const $ = (selector) => element.querySelector(selector);
const root = $(".player"), stage = $(".stage"), scrubber = $(".scrubber"), said = $(".said");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
root.setAttribute("aria-label", props.label);
stage.setAttribute("aria-label", `${props.label}. Space plays, arrow keys step.`);
stage.style.setProperty("--aspect", props.aspect);
stage.dataset.hint = props.hint || "";

let film = null; // { run, rate, start, first, expected, notes, tracks: [track] }
let at = 0; // playhead in frames; its floor is the frame shown
let playing = false, following = false, ticking = false, last = 0, told = "";
let askedAt = 0, askedFor = -1; // when a hungry player asked for more, and at how many frames

// ---- what there is -------------------------------------------------------------------------------------------------

function take(value) {
  if (!value) return clear();
  if (!film || film.run !== value.run) begin(value);
  film.first = value.first;
  at = Math.max(at, film.first);
  film.expected = value.expected;
  film.notes = value.notes;
  for (const about of value.tracks) {
    const track = film.tracks.find((t) => t.name === about.name);
    track.count = Math.max(track.count, about.count);
    track.done = about.done;
    track.size = about.size;
    shape(track);
    for (const i of track.jpegs.keys()) if (i < film.first) track.jpegs.delete(i);
  }
  pull();
  wake();
}

function begin(value) {
  const before = new Map((film?.tracks || []).map((t) => [t.name, t])), stays = film && continues(value);
  film?.tracks.forEach(forget);
  film = { run: value.run, rate: value.rate_hz, start: value.start_s, first: 0, tiles: value.tiles, notes: [], tracks: [] };
  film.tracks = value.tracks.map((about) => newTrack(about, before.get(about.name)));
  if (film.tracks.every((t) => !t.on)) film.tracks.forEach((t) => (t.on = true));
  stage.style.setProperty("--columns", value.columns);
  stage.replaceChildren(...film.tracks.map((t) => t.frame));
  showChips();
  said.textContent = "";
  askedFor = -1;
  if (stays) return;
  at = 0;
  following = value.tracks.some((t) => !t.done);
  playing = (following || value.tracks.some((t) => t.count > 1)) && (Boolean(props.hungry) || !calm.matches);
}

/** Whether a film is another version of the one shown that asks for the playhead to stay. */
function continues(value) {
  const names = (tracks) => tracks.map((t) => t.name).join();
  return value.stay && film.start === value.start_s && film.rate === value.rate_hz && names(film.tracks) === names(value.tracks);
}

function clear() {
  film?.tracks.forEach(forget);
  film = null;
  playing = following = false;
  stage.replaceChildren();
  showChips();
  said.textContent = "";
  wake();
}

function forget(track) {
  for (const picture of track.pictures.values()) picture?.close();
  track.pictures.clear();
  sizes.unobserve(track.canvas);
}

/** A track of a new film; a picture of the same name stays on the screen until it is painted over. */
function newTrack(about, before) {
  const frame = before?.frame || document.createElement("figure"), canvas = before?.canvas || document.createElement("canvas");
  const caption = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", about.alt);
  caption.textContent = about.label;
  caption.classList.toggle("plain", /imagined/i.test(about.label));
  frame.replaceChildren(caption, canvas);
  sizes.observe(canvas);
  const on = before ? before.on : true;
  return { ...about, on, count: 0, frame, canvas, jpegs: new Map(), pictures: new Map(), decoding: new Set(), next: 0, drawn: -2 };
}

/** Lay out the cameras for the width there is. */
function shape(track) {
  if (!track.size[0]) return;
  const { aspect, parts } = arrange(film.tiles, track.size, track.frame.clientWidth);
  if (JSON.stringify(parts) === JSON.stringify(track.parts)) return;
  track.parts = parts;
  track.drawn = -2;
  track.frame.style.setProperty("--aspect", aspect);
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

// ---- drawing -------------------------------------------------------------------------------------------------------

function wake() {
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
    else if (following) at = Math.max(at, ready() - 1); // motion is not wished: the newest frame, without playing
    draw();
    feed(now);
  }
  controls();
  if (playing && film) wake();
}

function advance(elapsed) {
  const end = ready() - 1;
  if (end < Math.floor(at)) return; // nothing there yet
  const next = Math.min(end, at + elapsed * film.rate * Number($(".speed").value) * pace(end));
  if (shown().every((t) => picture(t, Math.floor(next)) !== undefined)) at = Math.max(next, film.first);
  else decodeAround(Math.floor(next)); // hold until every track can show it
  if (at < end) return;
  if (growing()) return void (following = true);
  if ($(".repeat input").checked && end > 0) at = film.first;
  else playing = false;
}

/** Slower when little is left to play while a film grows, so that it is steady instead of stop and go. */
function pace(end) {
  if (!following || !growing()) return 1;
  const left = end + 1 - at, wished = props.hungry ? Math.max(2, props.hungry / 2) : film.rate / 2;
  return Math.max(0.25, Math.min(props.hungry && left > 2 * props.hungry ? 1.25 : 1, left / wished));
}

function draw() {
  const i = Math.max(film.first, Math.min(Math.floor(at), total() - 1));
  decodeAround(i);
  const tracks = shown();
  if (tracks.some((t) => picture(t, i) === undefined)) return; // the last moment stays until the new one is whole
  if (tracks.some((t) => t.drawn !== i)) announce(i);
  for (const track of tracks) {
    if (track.drawn === i) continue;
    track.drawn = i;
    paint(track, picture(track, i));
    track.frame.classList.toggle("imagined", Boolean(track.imagined) && seconds(i) > 0.01);
  }
}

/** Views from above move their cars along. */
function announce(frame) {
  document.dispatchEvent(new CustomEvent("detour:time", { detail: { player: props.name, seconds: seconds(frame) } }));
}

function paint(track, bitmap) {
  const { canvas } = track;
  if (bitmap) drawParts(canvas, bitmap, track.parts);
  else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  track.frame.classList.toggle("none", !bitmap);
}

const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const track = film?.tracks.find((t) => t.canvas === target);
    if (!track) continue;
    shape(track);
    if (fitCanvas(target, contentRect)) track.drawn = -2;
  }
  if (film && stage.offsetParent !== null) draw(); // now: a canvas of another size is empty
  wake();
});

// ---- a live drive --------------------------------------------------------------------------------------------------

function feed(now) {
  if (!props.hungry || !playing || !growing() || document.hidden) return;
  const have = Math.min(...film.tracks.filter((t) => !t.done).map((t) => t.count));
  if (have - Math.floor(at) - 1 >= props.hungry) return;
  if (askedFor === have && now - askedAt < ASK_AGAIN_MS) return;
  askedFor = have;
  askedAt = now;
  trigger("input");
}
