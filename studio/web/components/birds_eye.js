// The scene from above. Given by Gradio: element, props, trigger, watch. `props.value` is a scene in metres, x forward
// and y left; it is drawn in pixels with forward up, so that lines, letters and handles keep their size.
const STEP_M = 0.5, FINE_M = 0.1, CROSS_M = 1;
const ARROWS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, 1], ArrowRight: [0, -1] };
const ground = element.querySelector(".ground"), legend = element.querySelector("figcaption");
const svg = make("svg", { role: "group" });
const backdrop = make("g", {}, svg), paths = make("g", {}, svg), moving = make("g", {}, svg), crossing = make("g", {}, svg), handles = make("g", {}, svg);
ground.style.height = `${props.height_px}px`;
ground.append(svg);

let scene = null, frame = null, drag = null, cross = null, late = 0, time = null;

function make(tag, attributes = {}, parent = null, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  parent?.append(node);
  return node;
}

// ---- metres and pixels ---------------------------------------------------------------------------------------------

/** What is in sight: rounded to 5 m, so that the view does not tremble while paths grow. */
function fit() {
  const points = [[-6, -8], [34, 8], ...scene.layers.flatMap((l) => l.points), ...(scene.waypoints || [])];
  if (scene.obstacle) points.push([scene.obstacle.x, scene.obstacle.y]);
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const low = (v) => 5 * Math.floor((Math.min(...v) - 2) / 5), high = (v) => 5 * Math.ceil((Math.max(...v) + 2) / 5);
  const [x0, x1, y0, y1] = [low(xs), high(xs), low(ys), high(ys)];
  const width = ground.clientWidth || 400, height = props.height_px;
  const scale = Math.min(width / (y1 - y0), height / (x1 - x0));
  return { width, height, scale, left: width / 2 + (scale * (y0 + y1)) / 2, top: height / 2 + (scale * (x0 + x1)) / 2 };
}

const px = ([x, y]) => [frame.left - frame.scale * y, frame.top - frame.scale * x];
const metres = (u, v) => [(frame.top - v) / frame.scale, (frame.left - u) / frame.scale];
const tidy = (value) => Math.round(value * 100) / 100;
const list = (points) => points.map((p) => px(p).map((v) => v.toFixed(1)).join(",")).join(" ");

function where([x, y]) {
  const side = Math.abs(y) < 0.05 ? "" : `, ${Math.abs(y).toFixed(1)} m ${y > 0 ? "left" : "right"}`;
  return `${Math.abs(x).toFixed(1)} m ${x < 0 ? "behind" : "ahead"}${side}`;
}

// ---- drawing -------------------------------------------------------------------------------------------------------

function draw() {
  if (!scene || !ground.clientWidth) return;
  if (!drag) frame = fit();
  svg.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  svg.setAttribute("aria-label", scene.title || props.label);
  drawBackdrop();
  drawPaths();
  drawCars();
  drawCross();
  drawHandles();
  drawLegend();
}

function drawBackdrop() {
  backdrop.replaceChildren();
  const [far, left] = metres(0, 0), [near, right] = metres(frame.width, frame.height);
  for (let y = 10 * Math.ceil(right / 10); y <= left; y += 10) {
    const u = px([0, y])[0];
    make("line", { class: "grid", x1: u, x2: u, y1: 0, y2: frame.height }, backdrop);
  }
  for (let x = 10 * Math.ceil(near / 10); x <= far; x += 10) {
    const v = px([x, 0])[1];
    make("line", { class: "grid", x1: 0, x2: frame.width, y1: v, y2: v }, backdrop);
    if (v > 12) make("text", { class: "tick", x: 4, y: v - 3 }, backdrop, `${x < 0 ? "−" : ""}${Math.abs(x)} m`);
  }
  for (const box of scene.boxes) drawBox(box);
  make("polygon", { class: "ego", points: list([[3.7, 0.9], [3.7, -0.9], [-0.9, -0.9], [-0.9, 0.9]]) }, backdrop);
  make("polygon", { class: "nose", points: list([[3.3, 0], [2.2, 0.55], [2.2, -0.55]]) }, backdrop);
}

function drawBox(box) {
  const shape = make("polygon", { class: "box", points: list(box.corners) }, backdrop);
  const middle = [0, 1].map((k) => box.corners.reduce((sum, c) => sum + c[k], 0) / box.corners.length);
  make("title", {}, shape, `${box.kind}, ${where(middle)}`);
  if (!props.selectable) return;
  shape.classList.add("live");
  shape.setAttribute("tabindex", 0);
  shape.setAttribute("role", "button");
  shape.setAttribute("aria-label", `${box.kind}, ${where(middle)}`);
  shape.addEventListener("keydown", (event) => event.key === "Enter" && choose(middle, box.track));
  shape.addEventListener("click", (event) => (event.stopPropagation(), choose(metres(...local(event)), box.track)));
}

function drawPaths() {
  paths.replaceChildren();
  for (const layer of scene.layers) {
    const style = `stroke:${color(layer.color)}`;
    make("polyline", { class: layer.dashed ? "path dashed" : "path", points: list(layer.points), style }, paths);
    if (layer.dashed || layer.points.length > 40) continue;
    for (const p of layer.points) make("circle", { cx: px(p)[0], cy: px(p)[1], r: 2.5, style: `fill:${color(layer.color)}` }, paths);
  }
  if (scene.waypoints) make("polyline", { class: "wish", points: list([[0, 0], ...scene.waypoints]) }, paths);
  if (scene.obstacle) drawObstacle(scene.obstacle);
}

const color = (text) => (/^#[0-9a-f]{6}$/i.test(text) ? text : "#888888");

function drawObstacle({ x, y, yaw = 0, length = 4, width = 2, kind = "" }) {
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  const corner = (a, b) => [x + c * a - s * b, y + s * a + c * b];
  const [l, w] = [length / 2, width / 2];
  const shape = make("polygon", { class: "obstacle", points: list([corner(l, w), corner(l, -w), corner(-l, -w), corner(-l, w)]) }, paths);
  make("title", {}, shape, `${kind}, ${where([x, y])}`);
  make("polyline", { class: "heading", points: list([corner(0, 0), corner(l + 1.5, 0)]) }, paths);
}

/** Each car where it is at the time that the player shows. */
function drawCars() {
  moving.replaceChildren();
  if (time === null || !frame) return;
  for (const { label, color: paint, times, poses } of scene.cars) {
    if (!times.length || time < times[0] - 0.01 || time > times.at(-1) + 0.01) continue;
    const k = Math.max(1, times.findIndex((t) => t >= time - 0.01)), share = times.length > 1 ? (time - times[k - 1]) / (times[k] - times[k - 1]) : 0;
    const [from, to] = [poses[times.length > 1 ? k - 1 : 0], poses[times.length > 1 ? k : 0]];
    const turn = Math.atan2(Math.sin(to[2] - from[2]), Math.cos(to[2] - from[2])), yaw = from[2] + share * turn;
    const [x, y] = [0, 1].map((i) => from[i] + share * (to[i] - from[i])), [c, s] = [Math.cos(yaw), Math.sin(yaw)];
    const place = (ahead, left) => [x + c * ahead - s * left, y + s * ahead + c * left];
    const shape = make("polygon", { class: "car", points: list([place(3.7, 0), place(2.6, 0.9), place(-0.9, 0.9), place(-0.9, -0.9), place(2.6, -0.9)]), style: `fill:${color(paint)}` }, moving);
    make("title", {}, shape, label);
  }
}

function drawCross() {
  crossing.replaceChildren();
  if (!cross) return;
  const [u, v] = px(cross);
  make("path", { class: "cross", d: `M${u - 9} ${v}h18M${u} ${v - 9}v18` }, crossing);
}

function drawLegend() {
  const names = scene.layers.map((layer) => entry(layer.label, color(layer.color), layer.dashed));
  if (scene.waypoints) names.push(entry("drag these points", "#e0701a", true));
  if (scene.obstacle) names.push(entry(scene.obstacle.kind || "object", "#c2262e", false));
  legend.replaceChildren(...names);
}

function entry(text, stroke, dashed) {
  const span = document.createElement("span"), sample = make("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" });
  make("line", { x1: 0, x2: 22, y1: 4, y2: 4, style: `stroke:${stroke}`, class: dashed ? "path dashed" : "path" }, sample);
  span.append(sample, text);
  return span;
}

// ---- dragging ------------------------------------------------------------------------------------------------------

function movables() {
  const points = (scene.waypoints || []).map((p, k) => ({ key: `w${k}`, name: `Waypoint ${k + 1}`, at: p }));
  const { obstacle } = scene;
  if (obstacle?.movable) points.push({ key: "o", name: obstacle.kind || "Object", at: [obstacle.x, obstacle.y] });
  return points;
}

/** Handles are kept between drawings, or they would lose the focus and the pointer. */
function drawHandles() {
  const wanted = movables(), known = new Map([...handles.children].map((h) => [h.dataset.key, h]));
  for (const { key, name, at } of wanted) {
    const handle = known.get(key) || newHandle(key), [u, v] = px(at);
    known.delete(key);
    handle.setAttribute("transform", `translate(${u.toFixed(1)} ${v.toFixed(1)})`);
    handle.setAttribute("aria-label", `${name}: ${where(at)}. Arrow keys move it.`);
  }
  for (const handle of known.values()) handle.remove();
}

function newHandle(key) {
  const handle = make("g", { class: key === "o" ? "handle red" : "handle", tabindex: 0, role: "button", "aria-roledescription": "movable point" }, handles);
  handle.dataset.key = key;
  make("circle", { class: "reach", r: 20 }, handle);
  make("circle", { class: "knob", r: 8 }, handle);
  handle.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
    drag = { key, moved: false };
  });
  handle.addEventListener("pointermove", (event) => {
    if (drag?.key !== key) return;
    drag.moved = true;
    move(key, metres(...local(event)));
  });
  for (const name of ["pointerup", "pointercancel"]) handle.addEventListener(name, () => drag?.key === key && drop());
  handle.addEventListener("click", (event) => event.stopPropagation());
  handle.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    const step = event.shiftKey ? FINE_M : STEP_M, { at } = movables().find((m) => m.key === key);
    move(key, at.map((value, k) => value + step * ARROWS[event.key][k]));
    clearTimeout(late);
    late = setTimeout(() => ((late = 0), tell()), 250);
  });
  return handle;
}

function move(key, [x, y]) {
  const at = [tidy(x), tidy(y)];
  if (key === "o") scene = { ...scene, obstacle: { ...scene.obstacle, x: at[0], y: at[1] } };
  else scene = { ...scene, waypoints: scene.waypoints.map((p, k) => (`w${k}` === key ? at : p)) };
  draw();
}

function drop() {
  const { moved } = drag;
  drag = null;
  if (moved) tell();
  draw();
}

function tell() {
  props.value = scene;
  trigger("input");
}

// ---- choosing ------------------------------------------------------------------------------------------------------

function local(event) {
  const box = svg.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function choose([x, y], track = null) {
  cross = [x, y];
  drawCross();
  trigger("select", { index: null, value: track, x: tidy(x), y: tidy(y), track });
}

if (props.selectable) {
  svg.setAttribute("tabindex", 0);
  svg.classList.add("live");
  svg.addEventListener("click", (event) => scene && choose(metres(...local(event))));
  svg.addEventListener("keydown", (event) => {
    if (event.target !== svg || !scene) return;
    if (event.key === "Enter" && cross) return choose(cross);
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    cross = (cross || [10, 0]).map((value, k) => value + CROSS_M * ARROWS[event.key][k]);
    drawCross();
  });
}

function take() {
  const empty = { layers: [], boxes: [], cars: [], waypoints: null, obstacle: null };
  const { waypoints, obstacle } = scene || empty;
  scene = props.value ? { ...empty, ...props.value } : null;
  if (scene && (drag || late)) Object.assign(scene, { waypoints, obstacle }); // what is being dragged is newer
  if (scene) return draw();
  [backdrop, paths, moving, crossing, handles, legend].forEach((part) => part.replaceChildren());
  cross = null;
}

function follow({ detail }) {
  if (!element.isConnected) return document.removeEventListener("detour:time", follow);
  if (detail.player !== props.follows) return;
  time = detail.seconds;
  if (scene) drawCars();
}

if (props.follows) document.addEventListener("detour:time", follow);
new ResizeObserver(() => !drag && draw()).observe(ground);
watch("value", take);
take();
