// Finding a block, a transaction or an account. What was found has an address of its own: #block/7, #tx/…, #account/….
import { byId, date, el, getJSON, number, put, short } from './dom.js';

const most = 50; // transactions of a block that are listed
let asked = 0;
let led = true;

// setLed says whether there is a leader, which certain answers have to wait for.
export function setLed(is) {
  led = is;
}

// wanted reads what somebody typed; null when it is none of what can be found.
export function wanted(text) {
  const query = text.trim().toLowerCase().replace(/^0x/, '');
  if (query === 'latest') return 'block/latest';
  const height = query.replace(/[\s_,.'\u202f]/g, '');
  if (/^\d{1,19}$/.test(height)) return `block/${height.replace(/^0+(?=\d)/, '')}`;
  if (/^[0-9a-f]{64}$/.test(query)) return `find/${query}`;
  return null;
}

const mono = (text) => el('code', {}, text);
const link = (to, text) => el('a', { href: `#${to}` }, text);

function facts(pairs) {
  return el('dl', { class: 'facts' }, ...pairs.filter(Boolean).map(([name, value]) =>
    el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

// pretty indents what is JSON and leaves the rest as it is.
function pretty(payload) {
  try {
    return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    return payload;
  }
}

async function showBlock(height) {
  const b = await getJSON(`/v1/blocks/${height}`);
  const near = el('p', { class: 'near' });
  if (b.height > 0) near.append(link(`block/${b.height - 1}`, '← previous'), ' ');
  near.append(link(`block/${b.height + 1}`, 'next →'));
  const list = el('ol', { class: 'contents', start: 0 }, ...b.transactions.slice(0, most).map((tx) =>
    el('li', {}, link(`tx/${tx.hash}`, short(tx.hash)), ' ', el('bdi', {}, tx.payload.slice(0, 200)))));
  const rest = b.transactions.length - most;
  return [`Block ${number(b.height)}`, near, facts([
    ['Time', date(b.time)], ['Proposer', b.proposer || '–'], ['Term', number(b.term)],
    ['Transactions', number(b.transactions.length)], ['Hash', mono(b.hash)],
    ['Parent', b.height > 0 ? link(`block/${b.height - 1}`, b.parent_hash) : mono(b.parent_hash)],
    ['State root', mono(b.state_root)], ['Signature', mono(b.signature || 'genesis is not signed')],
    b.signer && ['Signed by', mono(b.signer)], ['Chain', `${b.chain_id}, version ${b.chain_version}`],
  ]), list, ...(rest > 0 ? [el('p', { class: 'aside' }, `and ${number(rest)} more`)] : [])];
}

async function showTx(hash) {
  const receipt = await getJSON(`/v1/transactions/${hash}`);
  const b = await getJSON(`/v1/blocks/${receipt.height}`);
  const tx = b.transactions[receipt.index];
  let from = '';
  try {
    from = String(JSON.parse(tx.payload).public_key ?? '');
  } catch {
    // an application's payload may be anything
  }
  return ['Transaction', facts([
    ['Hash', mono(tx.hash)],
    ['Final in', el('span', {}, link(`block/${b.height}`, `block ${number(b.height)}`), `, place ${number(receipt.index)}, ${date(b.time)}`)],
    /^[0-9a-f]{64}$/.test(from) && ['From', link(`account/${from}`, from)],
    ['Signature', mono(tx.signature)],
  ]), el('h3', {}, 'Payload'), el('pre', { tabindex: '0', 'aria-label': 'payload' }, pretty(tx.payload))];
}

const local = '?consistency=local';
const unsure = 'There is no leader to ask: this is what this node has.';

async function showAccount(key) {
  let account;
  let note = 'As of the newest block that was final when it was asked for.';
  try {
    account = await getJSON(`/v1/accounts/${key}${led ? '' : local}`);
    if (!led) note = unsure;
  } catch (e) {
    if (e.status !== 503) throw e;
    account = await getJSON(`/v1/accounts/${key}${local}`);
    note = unsure;
  }
  const balances = Object.entries(account.balances).sort(([a], [b]) => (a < b ? -1 : 1));
  return ['Account', facts([
    ['Public key', mono(key)], ['Next nonce', number(account.nonce)], ['At height', link(`block/${account.height}`, number(account.height))],
    ...balances.map(([asset, amount]) => [`Balance, ${asset}`, el('span', { class: 'amount' }, amount)]),
    balances.length === 0 && ['Balances', 'none'],
  ]), el('p', { class: 'aside' }, note)];
}

// find: 64 hex digits may be a transaction or an account. Every key is an account, so a transaction is looked for first.
async function find(hex) {
  try {
    return await showTx(hex);
  } catch (e) {
    if (e.status !== 404) throw e;
  }
  const [, ...body] = await showAccount(hex);
  return ['Account', el('p', { class: 'aside' }, 'No final transaction has this hash. As a public key it is:'), ...body];
}

// route shows what the address asks for.
export async function route() {
  const found = byId('found');
  const [, kind, what] = /^#(block|tx|account|find)\/(latest|\d{1,19}|[0-9a-f]{64})$/.exec(location.hash) ?? [];
  const mine = ++asked;
  if (!kind) {
    found.hidden = true;
    return;
  }
  let title;
  let body;
  try {
    [title, ...body] = await { block: showBlock, tx: showTx, account: showAccount, find }[kind](what);
  } catch (e) {
    title = 'Nothing found';
    body = [el('p', { class: 'aside' }, e.status ? e.message : 'The node does not answer.')];
  }
  if (mine !== asked) return; // something else was asked for meanwhile
  put(byId('found-title'), title);
  byId('found-body').replaceChildren(...body);
  found.hidden = false;
  byId('found-title').focus();
}

export function setUp() {
  const input = byId('query');
  byId('search').addEventListener('submit', (event) => {
    event.preventDefault();
    const to = wanted(input.value);
    input.setCustomValidity(to ? '' : 'A height, or 64 hex digits: a transaction hash or a public key');
    if (!to) {
      input.reportValidity();
      return;
    }
    if (location.hash === `#${to}`) route();
    else location.hash = to;
  });
  input.addEventListener('input', () => input.setCustomValidity(''));
  byId('found-close').addEventListener('click', (event) => {
    event.preventDefault();
    history.pushState(null, '', location.pathname);
    route();
    input.focus();
  });
  addEventListener('hashchange', route);
  route();
}
