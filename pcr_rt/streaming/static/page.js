"use strict";

// Two images are asked for ahead: one travels while the other is drawn. The server answers each
// request with the newest image, so a slow connection shows fewer of them, not older ones.
const AHEAD = 2;
const RETRY_MS = 1000;
const STALE_MS = 3000;
const LABEL_PX = 13;
const WAITING = "waiting for the first frame";
const cards = new Map();
let ended = false;
const state = document.getElementById("state");

function say(kind, text) {
  state.className = kind;
  state.textContent = text;
}

function card(source) {
  if (!cards.has(source)) {
    const content = document.getElementById("source").content.cloneNode(true);
    const article = content.querySelector("article");
    article.style.order = source;
    document.getElementById("sources").append(content);
    const fields = {};
    for (const field of article.querySelectorAll("dd")) fields[field.dataset.field] = field;
    cards.set(source, {
      canvas: article.querySelector("canvas"),
      title: article.querySelector("h2"),
      ids: article.querySelector(".ids"),
      fields,
      stats: null,
      seen: -Infinity,
    });
  }
  return cards.get(source);
}

function count(sources, viewers) {
  document.getElementById("viewers").textContent = viewers + (viewers === 1 ? " viewer" : " viewers");
  sources.forEach((stats, source) => {
    const { title, fields } = card(source);
    cards.get(source).stats = stats;
    title.textContent = stats.size ? `${stats.name}, ${stats.size[0]}×${stats.size[1]}` : stats.name;
    fields.fps.textContent = stats.fps.toFixed(1);
    for (const name of ["shown", "dropped", "failed", "reconnects"]) {
      fields[name].textContent = stats[name].toLocaleString("en");
    }
  });
}

// "live" is what sends images: a source may be connected and yet stand still.
function judge() {
  if (ended) return;  // an image may be decoded after the last word
  const all = [...cards.values()];
  const words = all.map(({ stats, seen }) => {
    const quiet = performance.now() - seen;
    if (quiet < STALE_MS) return "live";
    if (!stats || !stats.read) return WAITING;
    if (!stats.connected) return "lost, trying again";
    return seen < 0 ? "no frames" : `no frames for ${Math.round(quiet / 1000)} s`;
  });
  all.forEach(({ title }, i) => {
    title.dataset.state = words[i] === "live" || all.length === 1 ? "" : `  ${words[i]}`;
  });
  const trouble = words.find((word) => word !== WAITING);
  if (words.includes("live")) say("live", "live");
  else if (trouble) say("lost", trouble);
  else say("waiting", WAITING);
}

// Above the person, in CSS pixels whatever the size of the image, and above labels that are there.
function label(canvas, people) {
  const place = canvas.getBoundingClientRect();
  const unit = Math.max(canvas.width / place.width, canvas.height / place.height);
  const context = canvas.getContext("2d");
  context.font = `600 ${LABEL_PX * unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const height = 1.45 * LABEL_PX * unit;
  const taken = [];
  for (const person of people.filter((p) => p.label).sort((a, b) => b.score - a.score)) {
    const width = context.measureText(person.label).width + 0.8 * LABEL_PX * unit;
    const left = Math.max(0, Math.min(person.at[0], canvas.width - width));
    const wanted = Math.min(Math.max(person.at[1], height), canvas.height);
    let bottom = wanted;
    for (const other of taken.sort((a, b) => b.bottom - a.bottom)) {
      const beside = left >= other.left + other.width || other.left >= left + width;
      if (!beside && bottom - height < other.bottom && other.bottom - height < bottom) {
        bottom = other.bottom - height;
      }
    }
    if (bottom < height) bottom = wanted;
    taken.push({ left, width, bottom });
    context.fillStyle = person.tag;
    context.fillRect(left, bottom - height, width, height);
    context.fillStyle = person.text;
    context.fillText(person.label, left + 0.4 * LABEL_PX * unit, bottom - 0.48 * height);
  }
}

async function show(data) {
  const length = new DataView(data).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const image = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)]));
  const { canvas, ids, fields } = card(head.source);
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  label(canvas, head.people);
  document.body.dataset.colours = head.colours;
  cards.get(head.source).seen = performance.now();
  fields.people.textContent = head.people.length;
  fields.latency.textContent = Math.round(head.age_ms) + " ms";
  ids.replaceChildren(...head.people.filter((person) => person.id !== null).map((person) => {
    const item = document.createElement("li");
    const score = document.createElement("span");
    item.textContent = "#" + person.id;
    item.style.setProperty("--tag", person.tag);
    score.textContent = person.score.toFixed(2);
    item.append(score);
    return item;
  }));
  count(head.sources, head.viewers);
  judge();
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    ended = false;
    say("waiting", WAITING);
    for (let i = 0; i < AHEAD; i++) socket.send("next");
  };
  socket.onmessage = async ({ data }) => {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      ended = message.ended;
      count(message.sources, message.viewers);
      if (ended) say("waiting", "the stream has ended");
      else {
        judge();
        socket.send("next");
      }
      return;
    }
    await show(data);
    if (socket.readyState === WebSocket.OPEN) socket.send("next");
  };
  socket.onclose = () => {
    if (!ended) say("lost", "no connection, trying again");
    setTimeout(connect, ended ? 5 * RETRY_MS : RETRY_MS);
  };
}

connect();
