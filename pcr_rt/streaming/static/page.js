"use strict";

// Two images are asked for ahead: one travels while the other is drawn. The server answers each
// request with the newest image, so a slow connection shows fewer of them, not older ones.
const AHEAD = 2;
const RETRY_MS = 1000;
const cards = new Map();
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
    });
  }
  return cards.get(source);
}

function count(sources, viewers) {
  document.getElementById("viewers").textContent = viewers + (viewers === 1 ? " viewer" : " viewers");
  if (sources.some((stats) => stats.connected)) say("live", "live");
  else if (sources.some((stats) => stats.read > 0)) say("lost", "lost, trying again");
  else say("waiting", "waiting for the first frame");
  sources.forEach((stats, source) => {
    const { title, fields } = card(source);
    title.textContent = stats.size ? `${stats.name}, ${stats.size[0]}×${stats.size[1]}` : stats.name;
    title.className = stats.read > 0 && !stats.connected ? "lost" : "";
    fields.fps.textContent = stats.fps.toFixed(1);
    for (const name of ["shown", "dropped", "failed", "reconnects"]) {
      fields[name].textContent = stats[name].toLocaleString("en");
    }
  });
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
  fields.people.textContent = head.people.length;
  fields.latency.textContent = Math.round(head.age_ms) + " ms";
  ids.replaceChildren(...head.people.filter((person) => person.id !== null).map((person) => {
    const item = document.createElement("li");
    const score = document.createElement("span");
    item.textContent = "#" + person.id;
    score.textContent = person.score.toFixed(2);
    item.append(score);
    return item;
  }));
  count(head.sources, head.viewers);
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/live`);
  let ended = false;
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    say("waiting", "waiting for the first frame");
    for (let i = 0; i < AHEAD; i++) socket.send("next");
  };
  socket.onmessage = async ({ data }) => {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      ended = message.ended;
      count(message.sources, message.viewers);
      if (ended) say("waiting", "the stream has ended");
      else socket.send("next");
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
