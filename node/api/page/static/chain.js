// The newest blocks and transactions, and how many there are in a second.
import { byId, clean, clock, date, getJSON, number, put, short, table } from './dom.js';

const rows = 8;
const blockRows = 12;
const refusedRows = 3;
const fetchEvery = 600; // the lists are fetched at most so often, however fast the chain is

const showBlock = table(byId('blocks'), blockRows, [
  { link: true }, { title: true }, { class: 'num' }, { title: true }, { class: 'num wide' }, { title: true, class: 'wide mono' },
]);
const showTx = table(byId('txs'), rows, [{ link: true, class: 'mono' }, { title: true }, { class: 'num' }]);
const showRefused = table(byId('refused'), refusedRows, [{ title: true, class: 'mono' }, { title: true }]);

let blocks = []; // newest first
let refused = [];
let fetched = -fetchEvery;
let timer = 0;
let drawing = false;
let counts = []; // [this page's clock, transactions]

// summary says in few words what a payload does, as far as that can be told.
export function summary(payload) {
  let messages;
  try {
    messages = JSON.parse(payload).messages;
  } catch {
    return payload;
  }
  if (!Array.isArray(messages) || messages.length === 0) return payload;
  const first = messages[0] ?? {};
  const more = messages.length > 1 ? ` +${messages.length - 1}` : '';
  if (first.type === 'transfer') return `${first.amount} ${first.asset ?? ''} → ${short(String(first.to))}${more}`;
  return `${String(first.type ?? 'message')}${more}`;
}

function draw() {
  drawing = false;
  for (let i = 0; i < blockRows; i++) {
    const b = blocks[i];
    showBlock(i, b && [
      { text: number(b.height), href: `#block/${b.height}` }, { text: clock(b.time), title: date(b.time) }, number(b.tx_count),
      { text: b.proposer, title: b.proposer }, number(b.term), { text: short(b.hash), title: b.hash },
    ]);
  }
}

function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

// addBlock takes an event.
export function addBlock(b) {
  if (blocks.length > 0 && b.height <= blocks[0].height) return;
  blocks = [b, ...blocks].slice(0, blockRows);
  counts.push([performance.now(), b.tx_count]);
  drawSoon();
  refreshSoon();
}

function refreshSoon() {
  if (timer) return;
  timer = setTimeout(refresh, Math.max(0, fetched + fetchEvery - performance.now()));
}

// refresh fetches what is newest, in short.
export async function refresh() {
  clearTimeout(timer);
  timer = -1;
  fetched = performance.now();
  try {
    const recent = await getJSON(`/v1/recent?blocks=${blockRows}&transactions=${rows}`);
    if (recent.height >= (blocks[0]?.height ?? 0)) {
      blocks = recent.blocks;
      drawSoon();
    }
    recent.transactions.forEach((tx, i) => showTx(i, [
      { text: short(tx.hash), href: `#tx/${tx.hash}`, title: tx.hash }, { text: summary(tx.payload), title: tx.payload }, number(tx.height),
    ]));
    timer = 0;
    if (blocks[0]?.height > recent.height) refreshSoon();
  } catch {
    timer = 0; // the stream tells when the node is gone; the next block asks again
  }
}

// addRefused takes an event.
export function addRefused(e) {
  refused = [e, ...refused].slice(0, refusedRows);
  drawRefused();
}

function drawRefused() {
  for (let i = 0; i < refusedRows; i++) {
    const e = refused[i];
    showRefused(i, e ? [{ text: short(e.hash), title: e.hash }, { text: `${e.code}: ${e.message}`, title: clean(e.message) }]
      : i === 0 ? ['none', ''] : undefined);
  }
}
drawRefused();

// ---- transactions a second, of the last minute

const seconds = 60;
const svg = 'http://www.w3.org/2000/svg';
const bars = Array.from({ length: seconds }, (_, i) => {
  const bar = document.createElementNS(svg, 'rect');
  bar.setAttribute('x', String(i + 0.15));
  bar.setAttribute('width', '0.7');
  byId('spark').append(bar);
  return bar;
});

function drawRate() {
  const now = performance.now();
  counts = counts.filter(([at]) => now - at < seconds * 1000);
  const sums = new Array(seconds).fill(0);
  for (const [at, n] of counts) sums[seconds - 1 - Math.floor((now - at) / 1000)] += n;
  const most = Math.max(1, ...sums);
  bars.forEach((bar, i) => {
    const height = sums[i] === 0 ? 0.6 : 1 + (15 * sums[i]) / most;
    bar.setAttribute('height', height.toFixed(2));
    bar.setAttribute('y', (16 - height).toFixed(2));
  });
  const recent = sums.slice(-5).reduce((a, b) => a + b, 0) / 5;
  put(byId('rate'), recent >= 100 ? number(Math.round(recent)) : number(recent));
}
setInterval(drawRate, 1000);
drawRate();
