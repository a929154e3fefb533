"use strict";
(() => {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const source = document.getElementById("clip-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const prompt = document.getElementById("prompt");
  const seeds = [...document.querySelectorAll('input[name="seed"]')];
  const play = document.getElementById("play");
  const slider = document.getElementById("frame");
  const panels = [...document.querySelectorAll(".clip")].map((figure) => ({
    figure,
    canvas: figure.querySelector("canvas"),
    strip: figure.querySelector(".strip"),
    notes: figure.querySelector(".notes"),
    clip: null,
  }));
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let frame = 0;
  let fps = 8;
  let length = 1;
  let due = 0;

  function show() {
    const seed = seeds.find((input) => input.checked).value;
    fps = data.shown[prompt.selectedIndex].fps;
    for (const panel of panels) {
      panel.clip = data.strips[panel.figure.dataset.variant]?.[seed]?.[prompt.value] ?? null;
      panel.figure.classList.toggle("absent", !panel.clip);
      panel.notes.replaceChildren();
      if (panel.clip) fill(panel);
    }
    length = Math.max(1, ...panels.map((panel) => panel.clip?.frames ?? 0));
    slider.max = length - 1;
    seek(0);
  }

  function fill({ figure, canvas, strip, notes, clip }) {
    canvas.width = clip.width;
    canvas.height = clip.height;
    canvas.style.aspectRatio = `${clip.width} / ${clip.height}`;
    figure.classList.toggle("crisp", clip.width < 128);
    strip.src = clip.src;
    for (const note of clip.notes) {
      const span = document.createElement("span");
      span.textContent = note.good === null ? note.text : `${note.text} ${note.good ? "✓" : "✗"}`;
      if (note.good !== null) span.className = note.good ? "good" : "bad";
      notes.append(span);
    }
  }

  // One clock drives all panels, so they always show the same frame number.
  function seek(number) {
    frame = (number + length) % length;
    slider.value = frame;
    for (const { canvas, strip, clip } of panels) {
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (!clip || !strip.complete) continue;
      const left = Math.min(frame, clip.frames - 1) * clip.width;
      context.drawImage(strip, left, 0, clip.width, clip.height, 0, 0, clip.width, clip.height);
    }
  }

  function setPlaying(value) {
    playing = value;
    play.textContent = playing ? "Pause" : "Play";
  }

  function step(number) {
    setPlaying(false);
    seek(frame + number);
  }

  function choose(list, index, number) {
    return (index + number + list.length) % list.length;
  }

  const keys = {
    ArrowLeft: () => { prompt.selectedIndex = choose(prompt.options, prompt.selectedIndex, -1); show(); },
    ArrowRight: () => { prompt.selectedIndex = choose(prompt.options, prompt.selectedIndex, 1); show(); },
    ArrowUp: () => { seeds[choose(seeds, seeds.findIndex((s) => s.checked), -1)].checked = true; show(); },
    ArrowDown: () => { seeds[choose(seeds, seeds.findIndex((s) => s.checked), 1)].checked = true; show(); },
    " ": () => setPlaying(!playing),
    ",": () => step(-1),
    ".": () => step(1),
  };
  document.addEventListener("keydown", (event) => {
    // A focused control keeps the keys it handles itself, and keys scroll the page while the clips are not visible.
    const box = document.getElementById("clips").getBoundingClientRect();
    const visible = box.bottom > 0 && box.top < innerHeight;
    const steps = event.key === "," || event.key === ".";
    const taken = event.target.closest("input, select") ? !steps : event.target.closest("button, summary") && event.key === " ";
    if (!visible || taken || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  prompt.addEventListener("change", show);
  seeds.forEach((input) => input.addEventListener("change", show));
  play.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => { setPlaying(false); seek(Number(slider.value)); });
  panels.forEach(({ strip }) => strip.addEventListener("load", () => seek(frame)));

  function tick(now) {
    if (playing && now >= due) {
      seek(frame + 1);
      due += 1000 / fps;
      if (due < now) due = now + 1000 / fps;
    }
    requestAnimationFrame(tick);
  }
  setPlaying(playing);
  show();
  requestAnimationFrame(tick);
})();
