// A still picture of all cameras in which a point can be chosen. Given by Gradio: element, props, trigger, watch.
const STEP_PX = 1, COARSE_PX = 8; // pixels of the camera's tile per key press
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const picker = element.querySelector(".picker"), canvas = element.querySelector(".still");
const mark = element.querySelector(".aim"), place = element.querySelector(".place");
picker.style.setProperty("--aspect", props.aspect);

let picture = null, layout = null, aim = null, held = false; // aim: { camera, u, v } in pixels of that camera

async function take() {
  const value = props.value;
  if (!value) {
    [picture, canvas.hidden] = [null, true];
    return show(null);
  }
  canvas.setAttribute("aria-label", value.alt);
  picker.setAttribute("aria-label", `${props.label}. ${value.alt} Arrow keys move the aim, Enter chooses.`);
  const image = new Image();
  image.src = value.src;
  await image.decode().catch(() => {});
  if (props.value?.src !== value.src || !image.naturalWidth) return; // a newer one is on its way
  picture = image;
  canvas.hidden = false;
  draw();
  if (!held) show(value.aim);
}

function draw() {
  if (!picture || !picker.clientWidth) return;
  layout = arrange(props.value.tiles, props.value.size, picker.clientWidth);
  picker.style.setProperty("--aspect", layout.aspect);
  fitCanvas(canvas, picker.getBoundingClientRect());
  drawParts(canvas, picture, layout.parts);
  show(aim);
}

const tileOf = (camera) => props.value.tiles.find((t) => t.camera === camera);
const within = (value, end) => Math.max(0, Math.min(end, value));

function show(point) {
  aim = point && picture && tileOf(point.camera) ? point : null;
  mark.toggleAttribute("hidden", !aim);
  place.textContent = aim ? aim.camera.replaceAll("_", " ") : "";
  if (!aim) return;
  const tile = tileOf(aim.camera), x = tile.x + (aim.u * tile.width) / tile.camera_width, y = tile.y + (aim.v * tile.height) / tile.camera_height;
  const { from, to } = layout.parts.find((p) => !p.tile || p.tile === tile);
  mark.style.left = `${100 * (to[0] + (to[2] * (x - from[0])) / from[2])}%`;
  mark.style.top = `${100 * (to[1] + (to[3] * (y - from[1])) / from[3])}%`;
}

/** The camera under the pointer and the pixel in it; while dragging, the nearest one of the camera begun in. */
function under(event) {
  const box = canvas.getBoundingClientRect(), inside = ([x, y, w, h], u, v) => u >= x && u < x + w && v >= y && v < y + h;
  const [s, t] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const part = layout.parts.find((p) => (held && aim && p.tile ? p.tile.camera === aim.camera : inside(p.to, s, t)));
  if (!part) return null;
  const x = part.from[0] + ((s - part.to[0]) / part.to[2]) * part.from[2], y = part.from[1] + ((t - part.to[1]) / part.to[3]) * part.from[3];
  const tile = held && aim ? tileOf(aim.camera) : props.value.tiles.find((k) => inside([k.x, k.y, k.width, k.height], x, y));
  if (!tile) return null;
  const pixel = (at, start, length, own) => Math.round(100 * within(((at - start) * own) / length, own - 0.01)) / 100;
  return { camera: tile.camera, u: pixel(x, tile.x, tile.width, tile.camera_width), v: pixel(y, tile.y, tile.height, tile.camera_height) };
}

const choose = () => aim && trigger("select", { index: null, value: aim.camera, ...aim });

canvas.addEventListener("pointerdown", (event) => {
  const point = !event.button && picture && under(event);
  if (!point) return;
  event.preventDefault();
  picker.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  show(point);
  held = true;
});
canvas.addEventListener("pointermove", (event) => held && show(under(event) || aim));
canvas.addEventListener("pointerup", () => held && ((held = false), choose()));
canvas.addEventListener("pointercancel", () => (held = false));
picker.addEventListener("keydown", (event) => {
  if (!picture || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") return choose();
  if (!ARROWS[event.key]) return;
  event.preventDefault();
  const front = layout.parts[0].tile || props.value.tiles[Math.floor(props.value.tiles.length / 2)];
  const start = aim || { camera: front.camera, u: front.camera_width / 2, v: front.camera_height * 0.75 };
  const tile = tileOf(start.camera), [dx, dy] = ARROWS[event.key], step = event.shiftKey ? COARSE_PX : STEP_PX;
  const moved = (at, by, own) => Math.round(100 * within(at + step * by, own - 0.01)) / 100;
  show({ camera: start.camera, u: moved(start.u, dx, tile.camera_width), v: moved(start.v, dy, tile.camera_height) });
});

new ResizeObserver(draw).observe(picker);
watch("value", take);
take();
