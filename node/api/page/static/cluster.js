// Who leads, under which lease, and how every member is.
import { byId, el, length, number, put, short } from './dom.js';

const still = matchMedia('(prefers-reduced-motion: reduce)');

// ---- the lease

let lease = { left: 0, full: 0, at: 0, known: false };
let drawn = 0;
let last = 0;
let said = -1000;

// remaining is what is left of the lease that was heard of last, at least: it may have been renewed since.
const remaining = (now) => Math.max(0, lease.left - (now - lease.at));

function draw(now) {
  const fill = byId('lease-fill');
  const target = lease.full > 0 ? Math.min(1, remaining(now) / lease.full) : 0;
  if (still.matches) {
    drawn = target > 0 ? 1 : 0;
  } else {
    // The lease is renewed many times a second; the bar follows calmly and still runs out when no renewal comes.
    drawn += (target - drawn) * (1 - Math.exp(-(now - last) / 140));
    if (drawn < 0.004) drawn = 0;
  }
  last = now;
  fill.style.transform = `scaleX(${drawn.toFixed(4)})`;
  const state = !lease.known ? 'unknown' : lease.full === 0 ? 'off' : target > 0 ? 'held' : 'none';
  if (byId('lease').dataset.state !== state) {
    byId('lease').dataset.state = state;
    said = 0;
  }
  if (now - said > 500) {
    said = now;
    put(byId('lease-left'), {
      unknown: '–', off: 'switched off', none: 'nobody holds one',
      held: still.matches ? 'held' : `${number(Math.round(drawn * lease.full))} of ${number(lease.full)} ms left`,
    }[state]);
  }
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

export function forgetLease() {
  lease = { ...lease, left: 0, known: false };
}

// ---- members

const words = {
  leader: 'leads', follower: 'follows', pre_candidate: 'asks around', candidate: 'stands for election', learner: 'learns', '': 'unknown',
};
const cards = new Map();

function card(id) {
  const part = (name) => el('dd', { class: name });
  const parts = { height: part('num'), lag: part('num'), term: part('num'), rtt: part('num') };
  const name = el('h3', {}, id);
  const state = el('p', { class: 'state' });
  const health = el('p', { class: 'health' });
  const progress = el('progress', { max: 1, 'aria-label': `blocks that ${id} has` });
  const node = el('li', { class: 'member' }, el('div', { class: 'head' }, name, state), progress,
    el('dl', {}, ...[['Height', parts.height], ['Behind', parts.lag], ['Term', parts.term], ['Ping', parts.rtt]]
      .map(([label, value]) => el('div', {}, el('dt', {}, label), value))), health);
  return { node, state, health, progress, ...parts };
}

function showMember(m, cluster) {
  let c = cards.get(m.id);
  if (!c) cards.set(m.id, (c = card(m.id)));
  const known = m.heard_ms >= 0;
  const leads = m.id === cluster.leader;
  const stale = known && m.heard_ms > 3000;
  const kind = !m.alive ? 'dead' : leads ? 'leader' : m.syncing ? 'syncing' : m.voter ? 'voter' : 'learner';
  if (c.node.dataset.kind !== kind) c.node.dataset.kind = kind;
  let state = leads ? words.leader : words[m.state] ?? m.state;
  if (!m.alive) state = 'does not answer';
  else if (m.syncing) state = 'catches up';
  else if (leads) state = words.leader;
  else if (m.state === 'leader') state = 'takes over';
  else if (!m.voter && m.held) state = 'left';
  put(c.state, state);
  put(c.height, known ? number(m.height) : '–');
  put(c.lag, known && m.alive ? (m.lag > 0 ? `${number(m.lag)} blocks` : 'level') : '–');
  put(c.term, known ? number(m.term) : '–');
  put(c.rtt, m.id === cluster.node ? 'self' : m.rtt_us > 0 && m.alive ? length(m.rtt_us / 1000).replace('<1 ms', `${(m.rtt_us / 1000).toFixed(1)} ms`) : '–');
  const total = m.height + m.lag;
  const done = known && total > 0 ? m.height / total : 0;
  if (Math.abs(c.progress.value - done) > 0.0005 || c.progress.value === 0) c.progress.value = done;
  put(c.health, !known ? 'Not heard of since this node started'
    : stale ? `Last heard of ${length(m.heard_ms)} ago`
    : m.health !== 'ok' ? m.health
    : !m.ready ? (m.syncing ? `${number(Math.floor(done * 1000) / 10)} % of the blocks` : 'Not ready')
    : `Up for ${length(m.uptime_ms)}`);
  c.health.classList.toggle('ill', known && (stale || m.health !== 'ok' || !m.ready));
  return c.node;
}

function same(list, nodes) {
  return list.children.length === nodes.length && nodes.every((n, i) => list.children[i] === n);
}

// showCluster draws a snapshot.
export function showCluster(c) {
  const leader = c.members.find((m) => m.id === c.leader);
  put(byId('chain'), c.chain_id);
  put(byId('node'), c.node);
  put(byId('server'), c.node);
  put(byId('leader'), c.leader || 'Nobody');
  byId('leader').closest('.hero').dataset.led = String(Boolean(c.leader));
  put(byId('term'), number(c.term));
  put(byId('height'), number(c.height));
  put(byId('tip'), short(c.tip_hash));
  byId('tip').title = c.tip_hash;
  const voters = c.members.filter((m) => m.voter);
  const up = voters.filter((m) => m.alive).length;
  put(byId('quorum'), `${c.quorum} of ${voters.length}`);
  put(byId('quorum-note'), up === voters.length ? 'all answer' : `${up} of ${voters.length} answer`);
  byId('quorum-note').classList.toggle('ill', up < c.quorum);
  byId('quorum-note').classList.toggle('warn', up >= c.quorum && up < voters.length);

  // Of a lease that another node holds it is known how much was left when that node told.
  const left = leader ? Math.max(0, leader.lease_ms - Math.max(0, leader.heard_ms)) : 0;
  lease = { left, full: c.lease_full_ms, at: performance.now(), known: true };

  const nodes = c.members.map((m) => showMember(m, c));
  const list = byId('members');
  if (!same(list, nodes)) list.replaceChildren(...nodes);
  const pins = [];
  if (c.invited?.length) pins.push(`Invited: ${c.invited.join(', ')}.`);
  if (c.removed?.length) pins.push(`Removed: ${c.removed.join(', ')}.`);
  byId('pins').hidden = pins.length === 0;
  put(byId('pins'), pins.join(' '));
  document.title = c.leader ? `${c.leader} leads · ${c.chain_id} · baton` : `no leader · ${c.chain_id} · baton`;
}
