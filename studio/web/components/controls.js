// The controls of player.js: scrubber, buttons, chips, strip of notes, keys. Its last lines start the player.
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
  const there = film ? ready() : 0, count = film ? total() : 1, i = Math.floor(at);
  const news = JSON.stringify([film?.run, there, count, i, playing, film?.notes, growing()]);
  if (news === told) return;
  told = news;
  const still = there < 2, time = there ? spoken(seconds(i)) : "";
  for (const button of ["back", "play", "forth"]) $(`.${button}`).disabled = still;
  icon($(".play"), playing && !still ? "pause" : "play");
  $(".play").setAttribute("aria-label", playing && !still ? "Pause" : "Play");
  $(".clock").textContent = time;
  $(".last").textContent = film && count > 1 ? spoken(seconds(count - 1)) : "";
  scrubber.disabled = still;
  scrubber.max = Math.max(1, count - 1);
  scrubber.value = i;
  scrubber.setAttribute("aria-valuetext", time || "nothing to play");
  mark(count, there);
  showNotes();
  Object.assign(root.dataset, { run: film?.run ?? "", frame: there ? i : "", ready: there, playing, growing: Boolean(growing()) });
}

/** Colour the rail: grey what was recorded, blue what is imagined, empty what is still to come. */
function mark(count, there) {
  const share = (frame) => 100 * Math.max(0, Math.min(1, frame / Math.max(1, count - 1)));
  const now = film ? -film.start * film.rate : 0;
  scrubber.style.setProperty("--now", `${film?.tracks.some((t) => t.imagined) ? share(now) : 100}%`);
  scrubber.style.setProperty("--end", `${there ? share(there - 1) : 0}%`);
  $(".now").hidden = !(film && now > 0 && now < count - 1);
  $(".now").style.setProperty("--at", share(now));
}

function showChips() {
  const chips = (film?.tracks || []).map((track) => {
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
  if (!film) return $(".notes").replaceChildren();
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
  following = false; // until it has caught up
  if (playing && !growing() && at >= ready() - 1) at = film.first;
  last = performance.now();
  wake();
}

function seek(frame) {
  if (!film || scrubber.disabled) return;
  at = Math.max(film.first, Math.min(ready() - 1, frame));
  following = frame === Infinity && Boolean(growing()); // End: go on with the newest frames
  playing = following && (playing || !calm.matches);
  wake();
}

$(".play").addEventListener("click", toggle);
$(".back").addEventListener("click", () => seek(Math.floor(at) - 1));
$(".forth").addEventListener("click", () => seek(Math.floor(at) + 1));
scrubber.addEventListener("input", () => seek(Number(scrubber.value)));
stage.addEventListener("click", toggle);
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
