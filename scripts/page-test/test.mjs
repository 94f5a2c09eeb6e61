// The page of a real cluster of three processes in a real Chromium: what it shows while blocks come, the leader is killed,
// the connection breaks; that it can be used on a phone, in the dark and by keyboard; and that what strangers write into
// the chain stays text. Screenshots go to page-shots/.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { Cluster, until } from './cluster.mjs';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const shots = path.join(top, 'page-shots');
const hostile = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\u202e';
const receiver = 'ab'.repeat(32);
const patience = 60_000;

const complaints = []; // what the browser's console, the page or its policy complained of
let expected = []; // complaints that a step causes on purpose
let passed = 0;

async function step(name, body) {
  const start = performance.now();
  try {
    await body();
  } catch (e) {
    e.message = `${name}: ${e.message}`;
    throw e;
  }
  passed++;
  console.log(`ok ${passed} ${name} (${Math.round(performance.now() - start)} ms)`);
}

// Runs in the page before anything else of it: what the policy forbade, and how much moved by itself.
function observe() {
  // Shifts are added up as the metric's definition says, in windows of five seconds at most that end with a second without
  // any.
  window.seen = { violations: [], shift: 0, shifted: [], byHand: [] };
  const now = { sum: 0, first: -Infinity, last: -Infinity, sources: [] };
  document.addEventListener('securitypolicyviolation', (e) => window.seen.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput || window.seen.byHand.some(([from, to]) => from <= entry.startTime && entry.startTime <= to)) continue;
      if (entry.startTime - now.last > 1000 || entry.startTime - now.first > 5000) Object.assign(now, { sum: 0, first: entry.startTime, sources: [] });
      now.last = entry.startTime;
      now.sum += entry.value;
      now.sources.push(...entry.sources.map((s) => s.node?.id || s.node?.className || s.node?.nodeName));
      if (now.sum > window.seen.shift) Object.assign(window.seen, { shift: now.sum, shifted: now.sources });
    }
  }).observe({ type: 'layout-shift', buffered: true });
}

function watch(page) {
  page.on('console', (m) => {
    if (m.type() !== 'error' && m.type() !== 'warning') return;
    const text = `${m.text()} ${m.location().url}`;
    if (!expected.some((e) => e.test(text))) complaints.push(text);
  });
  page.on('pageerror', (e) => complaints.push(String(e)));
}

const text = (page, id) => page.evaluate((i) => document.getElementById(i).textContent.trim(), id);
const rows = (page, id) => page.evaluate((i) => [...document.querySelectorAll(`#${i} tr:not(.empty)`)]
  .map((row) => [...row.children].map((cell) => cell.textContent.trim())), id);
const shows = (page, id, want) => until(`#${id} shows ${want}`, async () => {
  const is = await text(page, id);
  if (want instanceof RegExp ? want.test(is) : is === want) return true;
  throw new Error(`it shows ${JSON.stringify(is)}`);
}, patience);

// byHand does what a person does. What that moves is no shift, also when a busy machine shows it later than the half second
// after which the browser takes it for one.
async function byHand(page, body) {
  const i = await page.evaluate(() => window.seen.byHand.push([performance.now(), Infinity]) - 1);
  const result = await body();
  await page.evaluate((i) => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      window.seen.byHand[i][1] = performance.now();
      done();
    }));
  }), i);
  return result;
}

const search = (page, what, title) => byHand(page, async () => {
  await page.locator('#query').fill(what);
  await page.keyboard.press('Enter');
  await until(`${what} is found`, async () => await page.locator('#found').isVisible() && (await text(page, 'found-title')) === title, patience);
  return text(page, 'found-body');
});

const closeFound = (page) => byHand(page, () => page.locator('#found-close').click());
const resize = (page, width, height) => byHand(page, () => page.setViewportSize({ width, height }));

async function quiet(page, name) {
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(seen.violations, [], `${name}: the policy was violated`);
  assert.ok(seen.shift < 0.02, `${name}: the layout shifted by ${seen.shift}: ${seen.shifted}`);
  assert.deepEqual(complaints, [], `${name}: the browser complained`);
  assert.equal(await page.evaluate(() => window.hacked), undefined, 'a payload ran');
}

// accessible asks axe, which judges contrast too.
async function accessible(page, name) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}: ${v.nodes[0].failureSummary}`), [], name);
}

const shot = (page, name, fullPage = true) => page.screenshot({ path: path.join(shots, `${name}.png`), fullPage });

async function main() {
  await mkdir(shots, { recursive: true });
  const cluster = await Cluster.layOut(path.join(top, 'bin', 'baton'), 3, 1_000_000);
  let browser;
  try {
    for (const node of cluster.nodes) await cluster.start(node);
    const first = await cluster.leader();
    const here = cluster.nodes.find((n) => n.id !== first);
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] });
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
    await context.addInitScript(observe);
    const page = await context.newPage();
    watch(page);
    let receipt;

    await step('it tells who leads, and how all nodes are', async () => {
      await page.goto(`${here.url}/`);
      const leader = await cluster.leader();
      await shows(page, 'leader', leader);
      await shows(page, 'link-text', 'Live');
      await shows(page, 'lease-left', /^\d+ of \d+ ms left$/);
      await shows(page, 'quorum-note', 'all answer');
      assert.deepEqual(await page.locator('.member h3').allTextContents(), ['node1', 'node2', 'node3']);
      assert.equal(await page.locator('.member[data-kind=leader]').count(), 1);
      assert.equal(await text(page, 'chain'), 'conference');
    });

    await step('blocks and transactions come by themselves', async () => {
      for (let i = 1; i <= 9; i++) receipt = await cluster.transfer(cluster.nodes[i % 3], receiver, i);
      await shows(page, 'height', String(receipt.height));
      await until('the newest block and transaction stand first', async () =>
        (await rows(page, 'blocks'))[0][0] === String(receipt.height) && (await rows(page, 'txs'))[0][1].startsWith('9 native → ababababab'), patience);
      await until('all followers are level', async () =>
        (await page.locator('.member .lag').allTextContents()).every((t) => t === 'level'), patience);
      await quiet(page, 'blocks');
      await shot(page, 'light');
    });

    await step('what strangers write stays text', async () => {
      const refusal = await cluster.send(here, { type: 'transfer', to: receiver, asset: hostile, amount: '1' }).catch((e) => e);
      assert.match(String(refusal.stderr), /unknown asset/);
      await until('the refusal is shown', async () => (await rows(page, 'refused'))[0]?.[1]?.includes('<img src=x'), patience);
      // An application of its own may let anything into a block: the same node's answers, with such a payload.
      const bad = JSON.stringify({ messages: [{ type: hostile, to: hostile }], public_key: hostile });
      await page.route('**/v1/recent*', async (route) => {
        const answer = await route.fetch();
        const recent = await answer.json();
        for (const tx of recent.transactions) tx.payload = bad;
        for (const b of recent.blocks) b.proposer = hostile;
        await route.fulfill({ response: answer, json: recent });
      });
      await page.route('**/v1/blocks/*', async (route) => {
        const answer = await route.fetch();
        const block = await answer.json();
        for (const tx of block.transactions) tx.payload = bad;
        block.proposer = hostile;
        await route.fulfill({ response: answer, json: block });
      });
      receipt = await cluster.transfer(here, receiver, 10);
      await until('the payload is shown', async () => (await rows(page, 'txs'))[0][1].startsWith('<img src=x'), patience);
      await until('the proposer is shown', async () => (await rows(page, 'blocks'))[0][3].startsWith('<img src=x'), patience);
      assert.match((await rows(page, 'txs'))[0][1], /\\u202e$/, 'what turns text around is shown as what it is');
      assert.match(await search(page, receipt.hash, 'Transaction'), /<script>window\.hacked=1<\/script>/);
      assert.match(await search(page, String(receipt.height), `Block ${receipt.height}`), /<img src=x/);
      assert.equal(await page.locator('main img, main script, svg script').count(), 0);
      await page.unroute('**/v1/recent*');
      await page.unroute('**/v1/blocks/*');
      await quiet(page, 'hostile payload');
      // The policy itself, if the page's own care failed: no HTML can be made from text at all.
      assert.match(await page.evaluate(() => {
        try {
          document.createElement('p').innerHTML = '<b>x</b>';
          return 'it was made';
        } catch (e) {
          return e.name;
        }
      }), /TypeError/);
      await page.evaluate(() => {
        window.seen.violations = [];
      });
      complaints.length = 0;
    });

    await step('search by height, hash and key; by keyboard; with an address of its own', async () => {
      assert.match(await search(page, '1', 'Block 1'), /State root[0-9a-f]{64}/);
      assert.match(await search(page, receipt.hash, 'Transaction'), /"amount": "10"/);
      await shot(page, 'found');
      assert.equal(await page.evaluate(() => location.hash), `#find/${receipt.hash}`);
      assert.equal(await page.evaluate(() => document.activeElement.id), 'found-title');
      await byHand(page, async () => {
        await page.goBack();
        await until('back at block 1', async () => (await text(page, 'found-title')) === 'Block 1', patience);
      });
      expected = [/status of 404.*\/v1\/(transactions|blocks)\//];
      assert.match(await search(page, cluster.key.publicKey, 'Account'), /Next nonce10.*Balance, native999945/s);
      assert.match(await search(page, '99999', 'Nothing found'), /no final block has height 99999 yet/);
      await page.locator('#query').fill('what?');
      await page.keyboard.press('Enter');
      assert.equal(await page.locator('#query').evaluate((i) => i.validity.customError), true);
      await page.locator('#query').fill('');
      await closeFound(page);
      assert.equal(await page.locator('#found').isVisible(), false);
      await byHand(page, async () => {
        await page.locator('#blocks a').first().focus();
        await page.keyboard.press('Enter');
        await until('a row leads to its block', async () => (await text(page, 'found-title')) === `Block ${receipt.height}`, patience);
      });
      await accessible(page, 'found');
      await closeFound(page);
    });

    await step('accessible in light and dark; the dark looks different', async () => {
      const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      await accessible(page, 'light');
      const light = await paper();
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.notEqual(await paper(), light);
      await accessible(page, 'dark');
      await shot(page, 'dark');
    });

    await step('a phone of 360 px scrolls one way only', async () => {
      await resize(page, 360, 780);
      for (const colorScheme of ['dark', 'light']) {
        await page.emulateMedia({ colorScheme });
        const wide = await page.evaluate(() => [...document.querySelectorAll('body *')]
          .filter((n) => n.getBoundingClientRect().right > innerWidth + 0.5 && !n.closest('.skip, .unseen, .track, .over, .list, .cut, pre'))
          .map((n) => n.id || n.className || n.tagName));
        assert.deepEqual(wide, []);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
        await accessible(page, `phone, ${colorScheme}`);
        await shot(page, `phone-${colorScheme}`);
      }
      await resize(page, 1280, 900);
    });

    await step('who wants no motion gets none', async () => {
      await page.emulateMedia({ reducedMotion: 'reduce' });
      await shows(page, 'lease-left', 'held');
      assert.equal(await page.evaluate(() => document.getElementById('lease-fill').style.transform), 'scaleX(1)');
      await page.emulateMedia({ reducedMotion: 'no-preference' });
    });

    await step('the leader is killed: another one, the gap, and who led when', async () => {
      const old = await cluster.otherLeader(here); // this page's own node is for later
      const term = Number((await cluster.status(here)).term);
      await cluster.kill(cluster.node(old));
      await until('another one is shown', async () => (await text(page, 'leader')) === await cluster.leader(old), patience);
      await until('the dead node is shown as such', async () => (await page.locator('.member[data-kind=dead] h3').allTextContents()).includes(old), patience);
      await shows(page, 'quorum-note', '2 of 3 answer');
      const list = await until('both are in the timeline', async () => {
        const list = await rows(page, 'changes');
        return list[0]?.[1] !== old && list[0]?.[1] !== 'nobody' && list.some((r) => r[1] === old) && list;
      }, patience);
      assert.ok(Number(list[0][2]) > term, `term ${list[0][2]} after ${term}`);
      assert.match(list[0][3], /^(<1 ms|[\d.]+ (ms|s)|none)$/);
      assert.ok(await page.locator('.reign:visible').count() >= 2, 'a bar for each');
      receipt = await cluster.transfer(here, receiver, 11);
      await until('the next block is shown', async () => {
        const [block] = await rows(page, 'blocks');
        return block[0] === String(receipt.height) && Number(block[4]) > term;
      }, patience);
      await quiet(page, 'after the election');
      await shot(page, 'election');
    });

    await step('without a majority nobody leads, and the page says so', async () => {
      const other = cluster.nodes.find((n) => n.process && n !== here);
      await cluster.kill(other);
      await shows(page, 'leader', 'Nobody');
      await shows(page, 'lease-left', 'nobody holds one');
      await shows(page, 'quorum-note', '1 of 3 answer');
      await accessible(page, 'nobody leads');
      await shot(page, 'nobody');
      assert.match(await search(page, cluster.key.publicKey, 'Account'), /what this node has/);
      await closeFound(page);
    });

    await step('all come back', async () => {
      for (const node of cluster.nodes.filter((n) => !n.process)) await cluster.start(node);
      await shows(page, 'leader', await cluster.leader());
      await shows(page, 'quorum-note', 'all answer');
    });

    await step('the connection breaks: it says so, names others, and comes back by itself', async () => {
      expected.push(/net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|ABORTED)/);
      await cluster.kill(here);
      await shows(page, 'link-text', 'Reconnecting');
      assert.match(await text(page, 'lost-text'), new RegExp(`connection to ${here.id} is lost`));
      assert.deepEqual((await page.locator('#lost-links a').evaluateAll((links) => links.map((a) => a.href))).sort(),
        cluster.nodes.filter((n) => n !== here).map((n) => `${n.url}/`).sort());
      await accessible(page, 'connection lost');
      await shot(page, 'lost', false);
      await page.emulateMedia({ colorScheme: 'dark' });
      await accessible(page, 'connection lost, dark');
      await shot(page, 'lost-dark', false);
      await page.emulateMedia({ colorScheme: 'light' });
      const other = cluster.nodes.find((n) => n !== here);
      receipt = await cluster.transfer(other, receiver, 12);
      await cluster.start(here);
      await shows(page, 'link-text', 'Live');
      assert.equal(await page.locator('#lost').isVisible(), false);
      await shows(page, 'height', String(receipt.height));
      await until('what was missed is in the list', async () => (await rows(page, 'blocks'))[0][0] === String(receipt.height), patience);
      await quiet(page, 'at the end');
    });

    await step('over HTTPS it is the same page, and others know where', async () => {
      const guarded = cluster.nodes.find((n) => n !== here);
      await cluster.kill(guarded);
      await cluster.secure(guarded);
      await cluster.start(guarded);
      const secure = await browser.newContext({ viewport: { width: 1280, height: 900 }, ignoreHTTPSErrors: true });
      await secure.addInitScript(observe);
      const there = await secure.newPage();
      watch(there);
      await until('it answers', () => there.goto(`${guarded.url}/`), patience);
      await shows(there, 'link-text', 'Live');
      await shows(there, 'leader', await cluster.leader(guarded.id));
      receipt = await cluster.transfer(here, receiver, 13);
      await shows(there, 'height', String(receipt.height));
      assert.match(await search(there, receipt.hash, 'Transaction'), /"amount": "13"/);
      assert.equal(await there.evaluate(() => location.protocol + isSecureContext), 'https:true');
      await quiet(there, 'over HTTPS');
      await secure.close();
      await until('the others know its address', async () => {
        const seen = await (await fetch(`${here.url}/v1/cluster`)).json();
        return seen.members.some((m) => m.id === guarded.id && m.api === guarded.url);
      }, patience);
    });
  } finally {
    await browser?.close();
    await cluster.close();
  }
}

try {
  await main();
  console.log(`page-test: ${passed} passed, 0 failed, 0 skipped`);
} catch (e) {
  console.error(e);
  if (complaints.length > 0) console.error('complaints:', complaints);
  console.log(`page-test: ${passed} passed, 1 failed, 0 skipped`);
  process.exitCode = 1;
}
