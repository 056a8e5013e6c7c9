// A pad to steer with. Given by Gradio: element, props, trigger. The value changes while keys or buttons are held down.
const pad = element.querySelector(".pad");
const KEYS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right",
  KeyW: "up", KeyS: "down", KeyA: "left", KeyD: "right" };
const TAKEN = "input, textarea, select, [contenteditable], [role=slider], [role=tab], [role=listbox], [role=option], [role=radio]";
const held = new Map(); // what holds it (a key's code, a pointer's id) -> direction
pad.setAttribute("aria-label", `${props.label}. Arrow keys or W A S D.`);

for (const button of pad.querySelectorAll("button")) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", "M12 5l8 13H4z");
  svg.append(path);
  button.append(svg);
  const release = (event) => hold(event.pointerId, null);
  button.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pad.focus({ preventScroll: true });
    button.setPointerCapture(event.pointerId);
    hold(event.pointerId, button.dataset.key);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

function hold(by, direction) {
  if (direction ? held.get(by) === direction : !held.has(by)) return;
  direction ? held.set(by, direction) : held.delete(by);
  const on = new Set(held.values()), one = (plus, minus) => Number(on.has(plus)) - Number(on.has(minus));
  for (const button of pad.querySelectorAll("button")) button.classList.toggle("held", on.has(button.dataset.key));
  const value = { throttle: one("up", "down"), steer: one("left", "right") };
  if (value.throttle === props.value?.throttle && value.steer === props.value?.steer) return;
  props.value = value;
  trigger("input");
}

function mine(event) {
  if (pad.offsetParent === null || event.ctrlKey || event.metaKey || event.altKey) return false;
  const focus = document.activeElement;
  if (pad.contains(focus)) return true;
  if (!props.keys_within || focus?.closest?.(TAKEN)) return false;
  return !focus || focus === document.body || Boolean(focus.closest(`#${CSS.escape(props.keys_within)}`));
}

function keydown(event) {
  if (!element.isConnected) return leave();
  if (!KEYS[event.code] || !mine(event)) return;
  event.preventDefault();
  if (!event.repeat) hold(event.code, KEYS[event.code]);
}

const keyup = (event) => hold(event.code, null);
const letGo = () => [...held.keys()].forEach((by) => hold(by, null));

function leave() {
  document.removeEventListener("keydown", keydown);
  document.removeEventListener("keyup", keyup);
}

document.addEventListener("keydown", keydown);
document.addEventListener("keyup", keyup);
document.addEventListener("visibilitychange", letGo);
window.addEventListener("blur", letGo);
document.addEventListener("focusin", (event) => event.target.closest?.(TAKEN) && letGo());
