#pragma once
// What the page of a timeline is made of, beside its data.

namespace sherd::bench {

inline constexpr const char* page_style = R"css(
:root { color-scheme: light dark; --back: #ffffff; --fore: #24292f; --soft: #57606a;
  --line: #d0d7de; --pane: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --fore: #e6edf3; --soft: #9198a1;
  --line: #30363d; --pane: #151b23; } }
body { background: var(--back); color: var(--fore); margin: 1.5rem auto; max-width: 1200px;
  padding: 0 1rem; font: 14px/1.45 system-ui, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.2rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p, summary { color: var(--soft); margin: .3rem 0; }
canvas { width: 100%; height: 340px; display: block; background: var(--pane);
  border: 1px solid var(--line); border-radius: 6px; cursor: crosshair; }
.key { display: inline-block; margin-right: 1rem; white-space: nowrap; }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; } td { overflow-wrap: anywhere; }
.list { max-height: 320px; overflow: auto; }
#tip { position: fixed; display: none; pointer-events: none; max-width: 420px; padding: .4rem .6rem;
  background: var(--back); border: 1px solid var(--line); border-radius: 6px; white-space: pre-line;
  box-shadow: 0 2px 8px rgba(0, 0, 0, .25); overflow-wrap: anywhere; }
)css";

inline constexpr const char* page_script = R"js(
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const useColours = { params: '#2f6fab', grads: '#c1553b', optimizer: '#5b8c3a',
  activations: '#8a63b8', comm: '#c08a1e', staging: '#2f9494', control: '#8c8c94', runtime: '#8c8c94' };
const verbColours = ['#8c8c94', '#2f6fab', '#8a63b8', '#b0567f', '#c08a1e', '#c1553b', '#a08060',
  '#6f6f9a', '#4f4f55', '#5b8c3a', '#2f9494', '#6fb0b0', '#86a8c8'];
const left = 84, top_ = 22, strip = 12, bottom = 24;
const view = { from: 0, to: data.steps };
const tip = document.getElementById('tip');

function element(parent, kind, text, name) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  parent.appendChild(made);
  return made;
}
function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0, value = count;
  while (value >= 1024 && unit < 4) { value /= 1024; ++unit; }
  return (unit ? value.toFixed(2) : value) + ' ' + units[unit];
}
function letter(text, step) { return text.charCodeAt(Math.floor(step / data.stride)) - 97; }
function stepWords(step) {
  const verb = data.verbs[letter(data.verb_of, step)];
  const subject = data.subject_of[Math.floor(step / data.stride)];
  const block = verb === 'forward' || verb === 'loss' || verb === 'backward';
  const named = block ? ' ' + (data.blocks[subject] ?? subject)
    : verb === 'feed' || verb === 'vote' || verb === 'decide' ? '' : ' bucket ' + subject;
  return step + ' ' + verb + named + ' (' + data.lanes[letter(data.lane_of, step)] + ')' +
    (data.stride > 1 ? ', about' : '');
}
function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name); }

class Chart {
  constructor(tier, parent) {
    this.tier = tier;
    this.low = 0;
    this.high = tier.peak;
    this.canvas = element(parent, 'canvas');
    this.drag = null;
    const c = this.canvas;
    c.addEventListener('mousemove', (e) => this.move(e));
    c.addEventListener('mouseleave', () => { tip.style.display = 'none'; });
    c.addEventListener('mousedown', (e) => { this.drag = { x: e.offsetX, y: e.offsetY }; });
    c.addEventListener('mouseup', (e) => this.release(e));
    c.addEventListener('dblclick', () => {
      view.from = 0; view.to = data.steps; this.low = 0; this.high = this.tier.peak; drawAll();
    });
  }
  get width() { return this.canvas.clientWidth - left - 6; }
  get height() { return this.canvas.clientHeight - top_ - strip - bottom; }
  x(step) { return left + (step - view.from) / (view.to - view.from) * this.width; }
  y(at) { return top_ + this.height - (at - this.low) / (this.high - this.low) * this.height; }
  step(x) { return view.from + (x - left) / this.width * (view.to - view.from); }
  at(y) { return this.low + (top_ + this.height - y) / this.height * (this.high - this.low); }

  draw() {
    const ratio = window.devicePixelRatio || 1, c = this.canvas;
    c.width = c.clientWidth * ratio;
    c.height = c.clientHeight * ratio;
    const g = c.getContext('2d');
    g.scale(ratio, ratio);
    g.font = '11px system-ui, sans-serif';
    this.axis(g);
    g.save();
    g.beginPath();
    g.rect(left, top_, this.width, this.height);
    g.clip();
    for (const [, use, offset, size, born, dies] of this.tier.buffers) {
      if (dies + 1 < view.from || born > view.to) continue;
      const x = this.x(born), y = this.y(offset + size);
      const w = this.x(dies + 1) - x, h = this.y(offset) - y;
      g.fillStyle = useColours[data.uses[use]];
      g.fillRect(x, y, Math.max(w, 0.6), Math.max(h, 0.6));
      if (w < 3 || h < 3) continue;
      g.strokeStyle = colour('--pane');
      g.lineWidth = 0.7;
      g.strokeRect(x, y, w, h);
    }
    g.restore();
    this.phases(g);
    this.verbs(g);
    this.peak(g);
  }
  axis(g) {
    g.fillStyle = colour('--soft');
    g.strokeStyle = colour('--line');
    g.textAlign = 'right';
    for (let i = 0; i <= 4; ++i) {
      const at = this.low + (this.high - this.low) * i / 4, y = this.y(at);
      g.fillText(bytes(Math.round(at)), left - 6, y + 4);
      g.beginPath(); g.moveTo(left, y); g.lineTo(left + this.width, y); g.stroke();
    }
    const foot = top_ + this.height + strip + 14;
    g.textAlign = 'left';
    g.fillText('step ' + Math.floor(view.from), left, foot);
    g.textAlign = 'right';
    g.fillText(String(Math.ceil(view.to)), left + this.width, foot);
  }
  phases(g) {
    g.textAlign = 'left';
    for (const phase of data.phases) {
      if (phase.last <= view.from || phase.first >= view.to) continue;
      const x = Math.max(this.x(phase.first), left);
      g.strokeStyle = colour('--fore');
      g.fillStyle = colour('--fore');
      g.setLineDash([4, 3]);
      g.beginPath(); g.moveTo(x, top_ - 14); g.lineTo(x, top_ + this.height + strip); g.stroke();
      g.setLineDash([]);
      const room = this.x(Math.min(phase.last, view.to)) - x;
      if (room > 30)
        g.fillText(phase.name + (phase.repeat > 1 ? ' × ' + phase.repeat : ''), x + 4, top_ - 6, room);
    }
  }
  verbs(g) {
    const y = top_ + this.height + 1;
    for (let x = left; x < left + this.width; ++x) {
      const step = Math.min(data.steps - 1, Math.max(0, Math.floor(this.step(x + 0.5))));
      g.fillStyle = verbColours[letter(data.verb_of, step)];
      g.fillRect(x, y, 1, strip - 2);
    }
  }
  peak(g) {
    const x = this.x(this.tier.peak_step + 0.5);
    if (x < left || x > left + this.width) return;
    g.strokeStyle = colour('--fore');
    g.lineWidth = 1.5;
    g.beginPath(); g.moveTo(x, top_); g.lineTo(x, top_ + this.height); g.stroke();
    g.fillStyle = colour('--fore');
    const far = x > left + this.width * 0.8;
    g.textAlign = far ? 'right' : 'left';
    g.fillText('peak', far ? x - 4 : x + 4, top_ + 11);
  }
  find(step, at) {
    const hits = (b) => step >= b[4] && step < b[5] + 1 && at >= b[2] && at < b[2] + b[3];
    return this.tier.buffers.find(hits);
  }
  words(b) {
    const many = b[6] ? ' and ' + (b[6] - 1) + ' that follow in its place' : '';
    return b[0] + many + '\n' + data.uses[b[1]] + ', ' + bytes(b[3]) + ' (' + b[3] + ' bytes) at ' +
      b[2] + '\nfrom step ' + stepWords(b[4]) + '\nto step ' + stepWords(b[5]) + '\n' +
      (b[5] - b[4] + 1) + ' of ' + data.steps + ' steps';
  }
  move(e) {
    const step = this.step(e.offsetX);
    if (step < 0 || step >= data.steps || e.offsetX < left) { tip.style.display = 'none'; return; }
    const hit = this.find(step, this.at(e.offsetY));
    tip.textContent = hit ? this.words(hit) : 'step ' + stepWords(Math.floor(step));
    tip.style.display = 'block';
    const over = e.clientX > window.innerWidth - 440;
    tip.style.left = (over ? e.clientX - 16 - tip.offsetWidth : e.clientX + 14) + 'px';
    tip.style.top = Math.min(e.clientY + 14, window.innerHeight - tip.offsetHeight - 8) + 'px';
    if (!this.drag) return;
    this.draw();
    const g = this.canvas.getContext('2d');
    g.strokeStyle = colour('--fore');
    g.strokeRect(this.drag.x, this.drag.y, e.offsetX - this.drag.x, e.offsetY - this.drag.y);
  }
  release(e) {
    const from = this.drag;
    this.drag = null;
    if (!from || Math.abs(e.offsetX - from.x) < 5 || Math.abs(e.offsetY - from.y) < 5) {
      this.draw();
      return;
    }
    const a = this.step(Math.min(from.x, e.offsetX)), b = this.step(Math.max(from.x, e.offsetX));
    const low = this.at(Math.max(from.y, e.offsetY)), high = this.at(Math.min(from.y, e.offsetY));
    view.from = Math.max(0, a);
    view.to = Math.min(data.steps, Math.max(b, view.from + 2));
    this.low = Math.max(0, low);
    this.high = Math.min(this.tier.peak, Math.max(high, this.low + 1024));
    drawAll();
  }
}

function table(parent, heads, rows) {
  const made = element(parent, 'table'), head = element(element(made, 'thead'), 'tr');
  heads.forEach((text, i) => element(head, 'th', text, i ? 'n' : ''));
  const body = element(made, 'tbody');
  for (const row of rows) {
    const line = element(body, 'tr');
    row.forEach((text, i) => element(line, 'td', String(text), i ? 'n' : ''));
  }
}
function legend() {
  const keys = document.getElementById('keys');
  const add = (line, name, fill) => {
    const key = element(line, 'span', undefined, 'key');
    element(key, 'i').style.background = fill;
    key.appendChild(document.createTextNode(name));
  };
  const uses = element(keys, 'p', 'bytes: '), verbs = element(keys, 'p', 'steps: ');
  for (const name of data.uses) if (name !== 'runtime') add(uses, name, useColours[name]);
  data.verbs.forEach((name, i) => {
    if (data.verb_of.includes(String.fromCharCode(97 + i))) add(verbs, name, verbColours[i]);
  });
}
function section(tier) {
  const part = element(document.body, 'section');
  element(part, 'h2', tier.name + ': ' + bytes(tier.peak) + ' (' + tier.peak + ' bytes)');
  const chart = new Chart(tier, part);
  if (tier.left_out)
    element(part, 'p', tier.left_out + ' of the smallest buffers are not drawn.');
  const peak = element(part, 'details');
  peak.open = true;
  element(peak, 'summary', 'At its peak, step ' + stepWords(tier.peak_step));
  const uses = Object.entries(tier.uses).filter(([, count]) => count > 0);
  uses.push(['in all', tier.peak]);
  table(peak, ['use', 'bytes', ''], uses.map(([name, count]) => [name, count, bytes(count)]));
  const all = element(part, 'details');
  element(all, 'summary', tier.at_peak.length + ' buffers at the peak, the largest first');
  table(element(all, 'div', undefined, 'list'), ['buffer', 'use', 'bytes', 'at', 'from step', 'to step'],
    tier.at_peak.map((b) => [b[0], data.uses[b[1]], b[3], b[2], b[4], b[5]]));
  return chart;
}
legend();
const charts = data.tiers.map(section);
function drawAll() { for (const chart of charts) chart.draw(); }
window.addEventListener('resize', drawAll);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
drawAll();
)js";

}  // namespace sherd::bench
