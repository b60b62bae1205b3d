"use strict";

const byId = (id) => document.getElementById(id);
const made = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const chosen = () => decodeURIComponent(location.hash.slice(1));
const cards = new Map();

// Drawn frames of all streams that can be seen, over one connection.
async function live() {
  for (;;) {
    const names = wanted();
    if (!names.length) {
      await sleep(300);
      continue;
    }
    const stop = new AbortController();
    const watch = setInterval(() => { if (wanted().join() !== names.join()) stop.abort(); }, 300);
    try {
      const query = new URLSearchParams({ streams: names.join(), width: chosen() ? 960 : 480 });
      const answer = await fetch(`/api/live?${query}`, { signal: stop.signal });
      if (answer.ok) await pictures(answer.body.getReader());
      else await sleep(1000);
    } catch {
      await sleep(stop.signal.aborted ? 50 : 1000);
    }
    clearInterval(watch);
  }
}

function wanted() {
  if (document.hidden) return [];
  if (chosen()) return [chosen()];
  return [...cards].filter(([, one]) => isVisible(one.image)).map(([name]) => name);
}

// Length and name, length and JPEG, again and again.
async function pictures(reader) {
  let held = new Uint8Array(0);
  const need = async (count) => {
    const parts = [held];
    let have = held.length;
    while (have < count) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the end");
      parts.push(value);
      have += value.length;
    }
    const all = new Uint8Array(have);
    let at = 0;
    for (const part of parts) { all.set(part, at); at += part.length; }
    held = all.subarray(count);
    return all.subarray(0, count);
  };
  const block = async () => need(new DataView((await need(4)).slice().buffer).getUint32(0));
  for (;;) {
    const name = new TextDecoder().decode(await block());
    const url = URL.createObjectURL(new Blob([await block()], { type: "image/jpeg" }));
    const image = chosen() ? byId("large") : cards.get(name)?.image;
    if (!image || (chosen() && chosen() !== name)) {
      URL.revokeObjectURL(url);
      continue;
    }
    const before = image.src;
    image.src = url;
    await image.decode().catch(() => {});
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
  }
}

function isVisible(element) {
  const box = element.getBoundingClientRect();
  return box.bottom > -200 && box.top < innerHeight + 200 && box.width > 0;
}

const count = (n) => n.toLocaleString("en");
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const causes = (counts) => Object.entries(counts).map(([cause, n]) => `${count(n)} ${cause}`).join(", ") || "none";

function badge(element, state) {
  element.textContent = state;
  element.className = `badge ${state}`;
}

function showOverview(streams) {
  for (const one of streams) {
    if (!cards.has(one.name)) {
      const image = made("img", { alt: `live view of ${one.name}` });
      const parts = { image, state: made("span"), rate: made("p"), why: made("p") };
      const top = made("div", { class: "top" }, made("b", {}, one.name), parts.state);
      const card = made("a", { class: "card", href: `#${encodeURIComponent(one.name)}` }, image,
        made("div", { class: "text" }, top, parts.rate, parts.why));
      cards.set(one.name, { card, ...parts });
      byId("overview").append(card);
    }
    const { state, rate, why } = cards.get(one.name);
    badge(state, one.state);
    rate.textContent = `${one.frames_per_second.toFixed(1)} frames/s · ${one.num_objects} objects · ` +
      `age p99 ${one.age_p99_ms.toFixed(0)} ms · ${count(sum(one.dropped))} dropped`;
    why.textContent = one.reason || one.failed_sinks.join("; ");
    why.hidden = !why.textContent;
  }
  const names = new Set(streams.map((one) => one.name));
  for (const [name, { card }] of cards) {
    if (names.has(name)) continue;
    card.remove();
    cards.delete(name);
  }
}

function rows(table, head, body, empty) {
  const line = (kind, cells) => made("tr", {}, ...cells.map((cell) => made(kind, {}, String(cell))));
  table.replaceChildren(...(body.length ? [line("th", head), ...body.map((cells) => line("td", cells))] : [line("td", [empty])]));
}

function showDetail(one) {
  byId("name").textContent = one.name;
  const facts = {
    state: one.state, source: one.source, "frames/s": one.frames_per_second.toFixed(1), frames: count(one.num_frames),
    dropped: causes(one.dropped), "age p99": `${one.age_p99_ms.toFixed(1)} ms`,
    connected: `${one.num_connections} times` + (sum(one.causes) ? ` (${causes(one.causes)})` : ""),
    size: one.hw ? `${one.hw[1]} x ${one.hw[0]}` : "", trouble: [one.reason, ...one.failed_sinks].filter(Boolean).join("; "),
  };
  byId("health").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== "")
    .flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, value)]));
  const stages = Object.entries(one.ledger.stages);
  const most = Math.max(...stages.map(([, times]) => times.p99), 1e-3);
  byId("ledger").replaceChildren(...stages.map(([name, times]) => {
    const bar = made("i"), tick = made("u");
    bar.style.width = `${100 * times.p50 / most}%`;
    tick.style.left = `calc(${100 * times.p99 / most}% - 2px)`;
    return made("div", { class: "stagebar" }, made("span", {}, name), made("span", { class: "track" }, bar, tick),
      made("span", {}, `${times.p50.toFixed(1)} / ${times.p99.toFixed(1)}`));
  }));
  rows(byId("zones"), ["place", "inside", "came", "went", "in", "out"],
    Object.entries(one.zones).map(([place, n]) => [place, n.inside, n.enter + n.appear, n.leave + n.vanish, n.num_in, n.num_out]),
    "none; draw one in the picture, and run with --zones");
  rows(byId("tracks"), ["id", "class", "score"],
    one.tracks.filter((t) => t.track_id === null || t.track_id >= 0).map((t) => [t.track_id ?? "", t.class_name, t.score?.toFixed(2) ?? ""]),
    "nothing is seen");
  sketch.size = one.hw;
}

// Drawing zones and lines into the picture: gives YAML, changes nothing here.
const sketch = { kind: "", points: [], drawn: { zones: [], lines: [] }, size: null };

function drawing(kind) {
  sketch.kind = kind;
  sketch.points = [];
  byId("sketch").toggleAttribute("hidden", !kind);
  for (const id of ["draw-undo", "draw-done"]) byId(id).hidden = !kind;
  paint();
}

function paint() {
  const svg = byId("sketch");
  if (!sketch.size) return;
  const [height, width] = sketch.size;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const node = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const shape = node(sketch.kind === "zones" && sketch.points.length > 2 ? "polygon" : "polyline", { points: sketch.points.map((p) => p.join(",")).join(" ") });
  svg.replaceChildren(shape, ...sketch.points.map(([x, y]) => node("circle", { cx: x, cy: y, r: width / 150 })));
}

function finishDrawing() {
  const least = sketch.kind === "zones" ? 3 : 2;
  if (sketch.points.length >= least) sketch.drawn[sketch.kind].push(sketch.points.map((p) => p.map(Math.round)));
  drawing("");
  const { zones, lines } = sketch.drawn;
  if (!zones.length && !lines.length) return;
  const listed = (title, word, shapes) => shapes.length
    ? [`${title}:`, ...shapes.map((points, i) => `  ${word}${i + 1}: {points: [${points.map((p) => `[${p.join(", ")}]`).join(", ")}]}`)] : [];
  const [height, width] = sketch.size;
  byId("yaml").textContent = [`size: [${width}, ${height}]`, ...listed("zones", "zone", zones), ...listed("lines", "line", lines)].join("\n");
  byId("drawn").hidden = false;
}

byId("draw-zone").addEventListener("click", () => drawing("zones"));
byId("draw-line").addEventListener("click", () => drawing("lines"));
byId("draw-undo").addEventListener("click", () => { sketch.points.pop(); paint(); });
byId("draw-done").addEventListener("click", finishDrawing);
byId("sketch").addEventListener("click", (event) => {
  if (!sketch.kind || !sketch.size) return;
  const box = byId("sketch").getBoundingClientRect(), [height, width] = sketch.size;
  sketch.points.push([(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height]);
  if (sketch.kind === "lines" && sketch.points.length === 2) finishDrawing();
  else paint();
});

let following = "";

function route() {
  const name = chosen();
  byId("overview").hidden = Boolean(name);
  byId("detail").hidden = byId("back").hidden = !name;
  drawing("");
  if (name && following !== name) {
    following = name;
    byId("large").removeAttribute("src");
    sketch.drawn = { zones: [], lines: [] };
    byId("drawn").hidden = true;
  }
  if (!name) following = "";
  look();
}

async function look() {
  try {
    const all = await (await fetch("/api/streams")).json();
    const live = all.streams.filter((one) => one.state === "live").length;
    byId("about").textContent = `${all.model} · ${live} of ${all.streams.length} live · up ${Math.round(all.up_s / 60)} min · ${all.version}`;
    showOverview(all.streams);
    const name = chosen();
    if (name) {
      const answer = await fetch(`/api/streams/${encodeURIComponent(name)}`);
      if (answer.ok) showDetail(await answer.json());
      else throw new Error(`there is no stream ${name}`);
    }
    byId("trouble").hidden = true;
  } catch (error) {
    byId("trouble").textContent = error instanceof TypeError ? "The run has ended, or cannot be reached." : String(error.message || error);
    byId("trouble").hidden = false;
  }
}

addEventListener("hashchange", route);
route();
live();
setInterval(() => document.hidden || look(), 1000);
