// Shows the units of a batch page by page; everything it needs is in this file. Texts go in as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("units-data").textContent);
  const [list, filter, order, told, pager] = ["list", "filter", "order", "told", "pager"].map((id) => document.getElementById(id));
  const PER_PAGE = 24;
  const units = data.units.map(([number, key, clip, text, seed, more, files, scores, seconds, computed, warnings]) => {
    const unit = { number, key, clip: data.clips[clip], text: data.texts[text], seed, more: data.mores[more] };
    Object.assign(unit, { files: data.files[files], scores, seconds, computed, warnings });
    unit.hay = `${key} ${unit.clip} ${unit.text || "as recorded"} ${unit.more}`.toLowerCase();
    unit.exact = [`unit=${number}`, `seed=${seed}`, `seconds=${seconds}`];
    return unit;
  });
  let found = units;
  let page = 0;

  const made = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const address = (unit, file) => `units/${unit.key.slice(0, 2)}/${unit.key}/` + file.split("/").map(encodeURIComponent).join("/");
  const said = (unit) => (unit.text ? `“${unit.text}”` : "as recorded");
  const called = (file) => ({ "mosaic.mp4": "film", "unit.json": "record", "trajectory.parquet": "paths", "latents.safetensors": "latents", "scores.json": "scores" })[file] || file.replace(/^cameras\//, "").replace(/\.mp4$/, "");

  const play = (unit, place) => {
    const old = place.querySelector("video");
    if (old) return old.remove();
    const attributes = { controls: "", autoplay: "", loop: "", muted: "", playsinline: "", src: address(unit, "mosaic.mp4") };
    const video = made("video", { ...attributes, "aria-label": `Imagined film of unit ${unit.number}` });
    video.muted = true;
    place.append(video);
  };

  const poster = (unit, place) => {
    const shown = unit.seconds ? "the newest recorded frame, then imagined ones" : "the newest recorded frame with what was planned";
    const alt = `Unit ${unit.number}, ${unit.clip}, told ${said(unit)}: ${shown}.`;
    const picture = made("img", { src: address(unit, "poster.jpg"), alt, loading: "lazy", decoding: "async" });
    if (!unit.files.includes("mosaic.mp4")) return made("div", { class: "poster" }, picture);
    const button = made("button", { class: "poster", type: "button", title: "Play the film" }, picture);
    button.addEventListener("click", () => play(unit, place));
    return button;
  };

  const row = (unit) => {
    const item = made("li", { class: "unit", id: `unit-${unit.number}` });
    const head = made("p", { class: "head" }, made("strong", {}, `Unit ${unit.number}`), ` · ${unit.clip} · `, said(unit), ` · seed ${unit.seed}`);
    if (unit.seconds) head.append(" ", made("span", { class: "badge" }, `imagined ${unit.seconds} s`));
    if (unit.more) head.append(` ${unit.more}`);
    if (unit.warnings) head.append(` · ${unit.warnings} warning${unit.warnings > 1 ? "s" : ""}, see the record`);
    const numbers = Object.entries(unit.scores).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
    const links = made("p", { class: "links" });
    if (numbers.length) links.append(made("span", { class: "numbers" }, numbers.join(" · ")), " ");
    for (const file of [...unit.files, "unit.json"]) if (file !== "poster.jpg") links.append(made("a", { href: address(unit, file) }, called(file)), " ");
    links.append(made("code", { title: unit.key }, unit.key.slice(0, 12)));
    const films = made("div", { class: "films" });
    item.append(poster(unit, films), films, head, links);
    return item;
  };

  const turn = (to) => {
    page = to;
    show();
    document.getElementById("units").scrollIntoView();
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    list.replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(row));
    told.textContent = `${found.length} of ${units.length} units, page ${page + 1} of ${pages}`;
    const step = (text, to) => {
      const button = made("button", { type: "button" }, text);
      button.disabled = to < 0 || to >= pages || to === page;
      button.addEventListener("click", () => turn(to));
      return button;
    };
    pager.replaceChildren(step("First", 0), step("Back", page - 1), step("On", page + 1), step("Last", pages - 1));
  };

  const ordered = (some) => {
    const down = order.value.endsWith(":down");
    const [name, direction] = down ? [order.value.slice(0, -5), -1] : [order.value, 1];
    if (name === "number") return some;
    const value = (unit) => (name === "computed" ? unit.computed : unit.scores[name]);
    const known = some.filter((unit) => typeof value(unit) === "number");
    return known.sort((a, b) => direction * (value(a) - value(b)) || a.number - b.number);
  };

  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = ordered(units.filter((unit) => words.every((word) => unit.hay.includes(word) || unit.exact.includes(word))));
    page = 0;
    show();
  };
  filter.addEventListener("input", search);
  order.addEventListener("change", search);
  document.getElementById("browse").hidden = false;
  show();
})();
