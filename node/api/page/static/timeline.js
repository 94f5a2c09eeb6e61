// Who led when, as the node that serves this page knew it.
import { byId, clock, date, el, getJSON, length, number, put, table } from './dom.js';

const rows = 4;
let data = null; // {spans, at}: at is this page's clock when the answer came
let ids = []; // one lane each
let lanes = [];
let gapPool = null;
let unknown = null; // before the node's start
let fetching = null;
let again = false;
let picked = false; // somebody chose how much is shown

const show = table(byId('changes'), rows, [
  { title: true }, { title: true }, { class: 'num' }, { class: 'num' }, { class: 'num' },
]);

// refresh fetches the timeline; while one fetch is under way, more wishes are one more fetch.
export async function refresh() {
  if (fetching) {
    again = true;
    return fetching;
  }
  fetching = getJSON('/v1/leaders')
    .then((leaders) => {
      data = { ...leaders, at: performance.now() };
      render();
    })
    .catch(() => {}) // the stream tells when the node is gone
    .finally(() => {
      fetching = null;
      if (again) {
        again = false;
        refresh();
      }
    });
  return fetching;
}

// setMembers makes a lane for each member, and for whoever led and is none any more.
export function setMembers(members) {
  const led = data ? data.spans.map((s) => s.leader).filter(Boolean) : [];
  const now = [...new Set([...members, ...led])].sort();
  if (now.length === ids.length && now.every((id, i) => id === ids[i])) return;
  ids = now;
  const over = el('div', { class: 'over' });
  gapPool = pool(over, 'gap');
  unknown = pool(over, 'before');
  lanes = ids.map((id) => {
    const track = el('div', { class: 'track' });
    return { id, node: el('div', { class: 'lane' }, el('span', { class: 'name' }, id), track), segments: pool(track, 'reign') };
  });
  byId('lanes').replaceChildren(...lanes.map((l) => l.node), over);
  render();
}

// pool places as many elements as are needed, and keeps them.
function pool(parent, className) {
  const nodes = [];
  return {
    place(marks) {
      while (nodes.length < marks.length) {
        nodes.push(el('div', { class: className }));
        parent.append(nodes.at(-1));
      }
      nodes.forEach((node, i) => {
        const mark = marks[i];
        node.hidden = !mark;
        if (!mark) return;
        node.style.setProperty('--left', mark.left); // where it is drawn, not where it is laid out: nothing else is touched
        node.style.width = `${mark.width}%`;
        node.classList.toggle('now', Boolean(mark.now));
        put(node, mark.label ?? '');
      });
    },
  };
}

// spans returns the timeline with ages: ms before now.
function spans() {
  let end = 0;
  const out = [];
  for (let i = data.spans.length - 1; i >= 0; i--) {
    const s = data.spans[i];
    const ms = s.us / 1000 + (i === data.spans.length - 1 ? performance.now() - data.at : 0);
    out.unshift({ ...s, ms, end, begin: end + ms });
    end += ms;
  }
  return out;
}

export function render() {
  if (!data || document.hidden || document.body.classList.contains('stale')) return;
  const all = spans();
  const since = all.length > 0 ? all[0].begin : 0;
  if (!picked) fit(since);
  const chosen = byId('windows').querySelector('input:checked').value;
  const span = chosen === 'all' ? Math.max(since, 10_000) : Number(chosen) * 1000;
  const at = (age) => 100 * (1 - Math.min(age, span) / span);
  const seen = all.filter((s) => s.end < span);
  for (const lane of lanes) {
    lane.segments.place(seen.filter((s) => s.leader === lane.id).map((s) => {
      const left = at(s.begin);
      const width = at(s.end) - left;
      return { left, width, now: s.end === 0, label: width > 8 ? `term ${number(s.term)}` : '' };
    }));
  }
  const first = data.dropped === 0 ? all[0] : null; // until it first heard of a leader, a node is only starting
  gapPool?.place(seen.filter((s) => s.leader === '' && (s !== first || s.end === 0))
    .map((s) => ({ left: at(s.begin), width: at(s.end) - at(s.begin) })));
  unknown?.place(data.dropped === 0 && since < span ? [{ left: 0, width: at(since), label: '' }] : []);
  put(byId('axis-from'), `${length(span)} ago`);
  put(byId('axis-mid'), `${length(span / 2)} ago`);

  const list = changes(all);
  for (let i = 0; i < rows; i++) show(i, list[i]?.cells);
  const now = all.at(-1);
  put(byId('since'), now ? (now.leader ? `for ${length(now.ms)}` : `nobody for ${length(now.ms)}`) : '–');
  const gap = all.findLast((s, i) => s.leader === '' && i > 0);
  put(byId('gap'), gap ? length(gap.ms) : 'none');
  put(byId('gap-note'), gap ? (gap.end === 0 ? 'without a leader now' : `without a leader, ${length(gap.end)} ago`) : `without a leader in ${length(since)}`);
  byId('gap').classList.toggle('ill', gap?.end === 0);
}

// changes are the rows of the table, the newest first.
function changes(all) {
  const out = [];
  all.forEach((s, i) => {
    if (s.leader === '' && i !== all.length - 1) return;
    const before = all[i - 1];
    let gap = 'none';
    if (s.leader === '' || !before) gap = '–';
    else if (before.leader === '') gap = i === 1 && data.dropped === 0 ? 'start' : length(before.ms);
    out.unshift({
      cells: [
        { text: clock(s.from, true), title: date(s.from) }, s.leader || 'nobody', number(s.term), gap,
        s.leader ? length(s.ms) : '–',
      ],
    });
  });
  return out;
}

// fit shows all there is, while that is less than an hour.
function fit(since) {
  const all = [...byId('windows').querySelectorAll('input')];
  const input = all.find((i) => Number(i.value) * 1000 >= since) ?? all[2];
  input.checked = true;
}

byId('windows').addEventListener('change', () => {
  picked = true;
  render();
});
setInterval(render, 1000);
