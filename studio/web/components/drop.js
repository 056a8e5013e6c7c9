// A place to drop recordings. Given by Gradio: element, props, trigger, watch. Files go to Gradio's own upload address in
// one request; the value then says under which names they were dropped and where the server put them.
const $ = (selector) => element.querySelector(selector);
const zone = $(".drop"), bar = $("progress"), way = $(".way"), said = $(".said"), ways = $(".ways");
const MB = 1e6;
const mostFiles = Number(zone.dataset.mostFiles), mostBytes = Number(zone.dataset.mostBytes);
let request = null; // the upload under way

$(".some").addEventListener("click", () => $(".files").click());
$(".whole").addEventListener("click", () => $(".folder").click());
$(".stop").addEventListener("click", () => request?.abort());
for (const input of element.querySelectorAll("input")) {
  input.addEventListener("change", () => {
    send([...input.files].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
    input.value = "";
  });
}

for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => {
  event.preventDefault();
  zone.classList.add("over");
});
zone.addEventListener("dragleave", (event) => zone.contains(event.relatedTarget) || zone.classList.remove("over"));
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files].map((file) => ({ name: file.name, file }));
  try {
    send(entries.length ? (await Promise.all(entries.map((entry) => inside(entry, "")))).flat() : plain);
  } catch {
    problem("This folder cannot be read. Send a zip of it instead.");
  }
});

async function inside(entry, above) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ name: above + entry.name, file }];
  }
  const reader = entry.createReader(), found = [];
  for (;;) { // a folder is read a hundred entries at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length || found.length > mostFiles) return found;
    found.push(...(await Promise.all(some.map((one) => inside(one, `${above}${entry.name}/`)))).flat());
  }
}

function send(files) {
  if (request || !files.length) return;
  const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
  if (files.length > mostFiles) return problem(`${files.length} files are too many; at most ${mostFiles} are taken at once.`);
  if (bytes > mostBytes) {
    return problem(`${Math.ceil(bytes / MB)} MB are too much; at most ${Math.floor(mostBytes / MB)} MB are taken. Cut the videos, or scale them down.`);
  }
  const form = new FormData();
  for (const { name, file } of files) form.append("files", file, name.split("/").pop());
  const began = performance.now();
  request = new XMLHttpRequest();
  request.open("POST", new URL("gradio_api/upload", document.baseURI));
  request.upload.addEventListener("progress", ({ loaded, total }) => tell(loaded, total, (performance.now() - began) / 1000));
  request.addEventListener("load", () => arrived(files));
  request.addEventListener("error", () => ended("The upload broke off. Check that the studio still runs, and send it again.", true));
  request.addEventListener("abort", () => ended("Stopped; nothing was kept."));
  busy(true);
  tell(0, bytes, 0);
  request.send(form);
}

function tell(loaded, total, seconds) {
  const left = loaded ? (seconds / loaded) * (total - loaded) : 0;
  bar.value = total ? loaded / total : 0;
  zone.classList.remove("problem");
  said.textContent = `Sending ${(loaded / MB).toFixed(1)} of ${(total / MB).toFixed(1)} MB${left > 1 ? `, about ${Math.ceil(left)} s left` : ""}`;
}

function arrived(files) {
  const { status, responseText } = request;
  if (status !== 200) return ended(responseText.slice(0, 300) || "The upload was refused. Reload the page and send it again.", true);
  const paths = JSON.parse(responseText);
  ended("Sent.");
  props.value = { files: files.map(({ name }, i) => ({ name, path: paths[i] })) };
  trigger("upload");
}

function ended(text, bad = false) {
  request = null;
  busy(false);
  bad ? problem(text) : (said.textContent = text);
}

function busy(on) {
  const back = !on && way.contains(document.activeElement);
  way.hidden = !on;
  ways.hidden = on;
  if (on) $(".stop").focus({ preventScroll: true });
  if (back) $(".some").focus({ preventScroll: true });
}

function problem(text) {
  zone.classList.add("problem");
  said.textContent = text;
}

watch("value", () => {
  if (!props.value && !zone.classList.contains("problem")) said.textContent = "";
});
