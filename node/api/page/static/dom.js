// Building the document. Text from outside enters it here and nowhere else, as text.

export const byId = (id) => document.getElementById(id);

// clean makes characters visible that nobody sees or that reorder what stands around them: a stranger wrote the text.
export function clean(value) {
  return String(value ?? '').replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
    (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'),
  );
}

// put writes a text where it differs: what does not change is not drawn, nor read out, again.
export function put(node, value) {
  const text = clean(value);
  if (node.textContent !== text) node.textContent = text;
  return node;
}

// el makes an element. Strings among its children become text.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(name, clean(value));
  }
  for (const child of children) {
    node.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
  return node;
}

// table fills a table's body with rows that stay: what comes later only changes their text, and nothing moves.
export function table(body, rows, columns) {
  const cells = [];
  for (let i = 0; i < rows; i++) {
    const row = el('tr');
    cells.push(columns.map((column) => {
      const cell = el('td', { class: column.class });
      const inner = column.link ? el('a') : el('span');
      if (column.title) inner.className = 'cut';
      cell.append(inner);
      row.append(cell);
      put(inner, '\u00a0');
      return inner;
    }));
    body.append(row);
  }
  // show writes one row: a text a column, or {text, href, title}.
  return function show(i, values) {
    cells[i].forEach((inner, k) => {
      const value = values?.[k];
      const { text, href, title } = value !== null && typeof value === 'object' ? value : { text: value };
      put(inner, text === undefined || text === '' ? '\u00a0' : text);
      if (inner.tagName === 'A') {
        if (href) inner.setAttribute('href', href);
        else inner.removeAttribute('href');
      }
      if (title) inner.title = clean(title);
      else inner.removeAttribute('title');
    });
    cells[i][0].closest('tr').classList.toggle('empty', !values);
  };
}

const grouped = new Intl.NumberFormat('en', { useGrouping: true, maximumFractionDigits: 1 });
export const number = (n) => (Number.isFinite(n) ? grouped.format(n).replaceAll(',', '\u202f') : '–');

export const short = (hash) => (hash ? `${hash.slice(0, 10)}…` : '');

// length is a time span for people.
export function length(ms) {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 1) return '<1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const two = (n) => String(n).padStart(2, '0');

// clock is an instant of today's clock, with milliseconds where they tell something.
export function clock(ms, fine = false) {
  const t = new Date(ms);
  if (Number.isNaN(t.getTime())) return '–';
  const text = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  return fine ? `${text}.${String(t.getMilliseconds()).padStart(3, '0')}` : text;
}

export const date = (ms) => {
  const t = new Date(ms);
  return Number.isNaN(t.getTime()) ? '–' : `${t.toISOString().slice(0, 10)} ${t.toISOString().slice(11, 23)} UTC`;
};

export async function getJSON(path) {
  const answer = await fetch(path, { headers: { Accept: 'application/json' }, credentials: 'omit' });
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // what is no JSON is an error below, or an answer without a body
  }
  if (answer.ok && body !== null) return body;
  const failure = new Error(body?.error?.message ?? `the node answered ${answer.status}`);
  failure.status = answer.status;
  failure.code = body?.error?.code ?? '';
  throw failure;
}
