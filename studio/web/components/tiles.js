// Where the cameras of a mosaic are drawn. `tiles` are their places in the picture, front camera in the middle of the
// first row; on a narrow screen the front camera gets the whole width and the others stand below it in pairs.
const NARROW_PX = 520;

/** Aspect of the whole, and parts {tile, from: [x, y, w, h] in picture pixels, to: [x, y, w, h] as shares of the whole}. */
function arrange(tiles, [width, height], shownPx) {
  if (!tiles?.length || tiles.length < 2 || shownPx >= NARROW_PX)
    return { aspect: width / height, parts: [{ from: [0, 0, width, height], to: [0, 0, 1, 1] }] };
  const first = tiles.filter((t) => t.y === tiles[0].y), front = first[Math.floor(first.length / 2)];
  const others = tiles.filter((t) => t !== front), [w, h] = [front.width, front.height];
  const whole = h + (Math.ceil(others.length / 2) * h) / 2;
  const part = (tile, x, y, share) =>
    ({ tile, from: [tile.x, tile.y, tile.width, tile.height], to: [x / w, y / whole, share, (share * h) / whole] });
  return { aspect: w / whole, parts: [part(front, 0, 0, 1), ...others.map((t, k) => part(t, (k % 2) * (w / 2), h + Math.floor(k / 2) * (h / 2), 0.5))] };
}

function drawParts(canvas, source, parts) {
  const context = canvas.getContext("2d"), { width, height } = canvas;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  for (const { from, to } of parts)
    context.drawImage(source, ...from, to[0] * width, to[1] * height, to[2] * width, to[3] * height);
}

/** Sharp on any screen: as many pixels as the screen has where the canvas lies; whether that changed. */
function fitCanvas(canvas, { width, height }) {
  const sharp = Math.min(2, window.devicePixelRatio || 1), size = [Math.round(width * sharp), Math.round(height * sharp)];
  if (!size[0] || !size[1] || (canvas.width === size[0] && canvas.height === size[1])) return false;
  [canvas.width, canvas.height] = size;
  return true;
}
