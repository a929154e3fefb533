"use strict";
(() => {
  const data = JSON.parse(document.getElementById("rating").textContent);
  const at = (id) => document.getElementById(id);
  const sides = ["left", "right"];
  const buttons = [...document.querySelectorAll("[data-side]")];
  let rater = "";
  let tasks = []; // [{item, left}]: left is "x" or "y"
  let answers = {}; // item → {choice, left, seconds}
  let place = 0;
  let clips = null; // {left, right}: [description, image]
  let shownAt = 0;
  let clock = 0; // seconds since the clips began
  let last = 0;
  let playing = true;

  // Draws from text, the same in every browser: FNV-1a, then mulberry32.
  function randomFrom(text) {
    let state = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  function drawTasks() {
    const random = randomFrom(`${data.form} ${rater}`);
    tasks = [];
    for (const question of Object.keys(data.questions)) {
      const own = data.items.filter((item) => item.question === question);
      for (let i = own.length - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [own[i], own[j]] = [own[j], own[i]];
      }
      for (const item of own) tasks.push({ item, left: random() < 0.5 ? "x" : "y" });
    }
  }

  const store = () => `rating ${data.form} ${rater}`;

  function kept() {
    try {
      return JSON.parse(localStorage.getItem(store())) ?? {};
    } catch {
      return {};
    }
  }

  function keep() {
    try {
      localStorage.setItem(store(), JSON.stringify(answers));
      localStorage.setItem(`rating ${data.form}`, rater);
    } catch {
      problem("This browser keeps no data of the page; save your answers before you close it.");
    }
  }

  function problem(text) {
    at("problem").textContent = text;
    at("problem").hidden = !text;
  }

  function load(clip) {
    const image = new Image();
    image.src = clip.src;
    return image.decode().then(() => [clip, image]);
  }

  async function show() {
    const done = Object.keys(answers).length;
    at("bar").max = tasks.length;
    at("bar").value = done;
    at("count").textContent = `${done} of ${tasks.length} answered`;
    at("end").hidden = place < tasks.length;
    at("task").hidden = place >= tasks.length;
    clips = null;
    if (place >= tasks.length) return;
    const { item, left } = tasks[place];
    const task = place;
    at("task").dataset.item = item.id;
    at("left").dataset.clip = left;
    at("question").textContent = data.questions[item.question];
    at("prompt").textContent = item.prompt ?? "";
    at("prompt").hidden = item.prompt === null;
    at("back").disabled = place === 0;
    problem("");
    for (const button of buttons) {
      button.disabled = true;
      const given = answers[item.id]?.choice;
      const side = given === "equal" ? "equal" : given === left ? "left" : given && "right";
      button.classList.toggle("chosen", button.dataset.side === side);
    }
    try {
      const [a, b] = await Promise.all([load(item[left]), load(item[left === "x" ? "y" : "x"])]);
      if (task !== place) return;
      clips = { left: a, right: b };
    } catch {
      if (task === place) problem("A video of this pair cannot be read; keep the folder `clips` next to this page.");
      return;
    }
    for (const side of sides) {
      const [clip] = clips[side];
      Object.assign(at(side), { width: clip.width, height: clip.height });
      at(side).classList.toggle("crisp", clip.width < 128);
    }
    clock = 0;
    shownAt = performance.now();
    for (const button of buttons) button.disabled = false;
    draw();
  }

  // One clock drives both clips; the shorter one holds its last frame until both start again.
  function draw() {
    if (!clips) return;
    for (const side of sides) {
      const [clip, image] = clips[side];
      const frame = Math.min(Math.floor(clock * clip.fps + 1e-6), clip.frames - 1);
      const [x, y] = [(frame % clip.columns) * clip.width, Math.floor(frame / clip.columns) * clip.height];
      at(side).getContext("2d").drawImage(image, x, y, clip.width, clip.height, 0, 0, clip.width, clip.height);
      at(side).dataset.frame = frame;
    }
  }

  function tick(now) {
    if (playing && clips) {
      const length = Math.max(...sides.map((side) => clips[side][0].frames / clips[side][0].fps));
      clock = (clock + Math.min(now - last, 250) / 1000) % length;
      draw();
    }
    last = now;
    requestAnimationFrame(tick);
  }

  function answer(side) {
    if (!clips || at("task").hidden) return;
    const { item, left } = tasks[place];
    const choice = side === "equal" ? "equal" : side === "left" ? left : left === "x" ? "y" : "x";
    answers[item.id] = { choice, left, seconds: Math.round((performance.now() - shownAt) / 100) / 10 };
    keep();
    const open = tasks.findIndex((task, number) => number > place && !answers[task.item.id]);
    const any = tasks.findIndex((task) => !answers[task.item.id]);
    place = open >= 0 ? open : any >= 0 ? any : tasks.length;
    show();
  }

  function back() {
    if (place === 0) return;
    place -= 1;
    show();
  }

  function play() {
    playing = !playing;
    at("play").textContent = playing ? "Pause" : "Play";
  }

  function save() {
    const given = tasks.filter(({ item }) => answers[item.id]).map(({ item }) => ({ item: item.id, ...answers[item.id] }));
    const content = { version: 1, form: data.form, rater, saved: new Date().toISOString(), answers: given };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
    link.download = `answers-${rater.replace(/[^\p{L}\p{N}]+/gu, "-")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  at("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    rater = at("rater").value.trim();
    if (!rater) return;
    drawTasks();
    const own = kept();
    answers = Object.fromEntries(tasks.filter(({ item }) => own[item.id]).map(({ item }) => [item.id, own[item.id]]));
    at("start").hidden = true;
    at("save").hidden = false;
    at("who").textContent = rater;
    const open = tasks.findIndex((task) => !answers[task.item.id]);
    place = open < 0 ? tasks.length : open;
    show();
  });
  buttons.forEach((button) => button.addEventListener("click", () => answer(button.dataset.side)));
  for (const [id, act] of Object.entries({ back, "back-end": back, play, save, "save-end": save })) {
    at(id).addEventListener("click", act);
  }
  const keys = { ArrowLeft: () => answer("left"), ArrowDown: () => answer("equal"), ArrowRight: () => answer("right"), Backspace: back, " ": play };
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("input") || (event.key === " " && event.target.closest("button"));
    if (at("task").hidden || own || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  try {
    at("rater").value = localStorage.getItem(`rating ${data.form}`) ?? "";
  } catch {
    // The page works without storage; `keep` reports it.
  }
  requestAnimationFrame(tick);
})();
