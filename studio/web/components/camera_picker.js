// A still picture of all cameras in which a point can be chosen. Given by Gradio: element, props, trigger, watch.
const STEP_PX = 4, FINE_PX = 1; // pixels of the mosaic per key press
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const picker = element.querySelector(".picker"), picture = element.querySelector(".still");
const mark = element.querySelector(".aim"), place = element.querySelector(".place");
picker.style.setProperty("--aspect", props.aspect);

let aim = null, held = false; // aim: a point of the mosaic, in its pixels

function take() {
  const value = props.value;
  picture.hidden = !value;
  if (!value) return show(null);
  picture.src = value.src;
  picture.alt = value.alt;
  picker.setAttribute("aria-label", `${props.label}. ${value.alt} Arrow keys move the aim, Enter chooses.`);
  picker.style.setProperty("--aspect", value.size[0] / value.size[1]);
  if (held) return;
  const tile = value.aim && value.tiles.find((t) => t.camera === value.aim.camera);
  show(tile ? [tile.x + (value.aim.u * tile.width) / tile.camera_width, tile.y + (value.aim.v * tile.height) / tile.camera_height] : null);
}

function show(point) {
  aim = point;
  mark.toggleAttribute("hidden", !point);
  place.textContent = "";
  if (!point) return;
  mark.style.left = `${(100 * point[0]) / props.value.size[0]}%`;
  mark.style.top = `${(100 * point[1]) / props.value.size[1]}%`;
  place.textContent = chosen()?.camera ?? "";
}

/** The camera under the aim and the pixel in it; null between the cameras. */
function chosen() {
  const [x, y] = aim, tile = props.value.tiles.find((t) => x >= t.x && x < t.x + t.width && y >= t.y && y < t.y + t.height);
  if (!tile) return null;
  const pixel = (at, from, length, own) => Math.round((100 * (at - from) * own) / length) / 100;
  return { camera: tile.camera, u: pixel(x, tile.x, tile.width, tile.camera_width), v: pixel(y, tile.y, tile.height, tile.camera_height) };
}

function choose() {
  const point = aim && chosen();
  if (point) trigger("select", { index: null, value: point.camera, ...point });
}

function under(event) {
  const box = picture.getBoundingClientRect(), [width, height] = props.value.size;
  const inside = (value, end) => Math.max(0, Math.min(end - 1, value));
  return [inside(((event.clientX - box.left) / box.width) * width, width), inside(((event.clientY - box.top) / box.height) * height, height)];
}

picture.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  picker.focus({ preventScroll: true });
  picture.setPointerCapture(event.pointerId);
  held = true;
  show(under(event));
});
picture.addEventListener("pointermove", (event) => held && show(under(event)));
picture.addEventListener("pointerup", () => held && ((held = false), choose()));
picture.addEventListener("pointercancel", () => (held = false));
picker.addEventListener("keydown", (event) => {
  if (!props.value) return;
  if (event.key === "Enter" && aim) return choose();
  if (!ARROWS[event.key]) return;
  event.preventDefault();
  const [width, height] = props.value.size, step = event.shiftKey ? FINE_PX : STEP_PX;
  const [x, y] = aim || [width / 2, height * 0.7], [dx, dy] = ARROWS[event.key];
  show([Math.max(0, Math.min(width - 1, x + step * dx)), Math.max(0, Math.min(height - 1, y + step * dy))]);
});

watch("value", take);
take();
