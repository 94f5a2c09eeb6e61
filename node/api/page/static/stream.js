// The one stream of events, and what happens when it breaks.
import { byId, clean, el, put } from './dom.js';

const silence = 4000; // nothing for so long, while several snapshots a second are due: the connection is dead
const hiddenFor = 15000; // a page that nobody looks at gives its stream back
const waits = [500, 1000, 2000, 4000, 8000];

export class Stream {
  #source = null;
  #handlers;
  #tries = 0;
  #watchdog = 0;
  #retry = 0;
  #tick = 0;
  #hide = 0;
  #node = 'the node';
  #others = [];

  // handlers: {open(), block(e), leader(e), tx_failed(e), member(e), cluster(e)}
  constructor(handlers) {
    this.#handlers = handlers;
    byId('lost-now').addEventListener('click', () => this.connect());
    addEventListener('online', () => this.#source || this.connect());
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hide);
      if (document.hidden) this.#hide = setTimeout(() => this.#rest(), hiddenFor);
      else if (!this.#source) this.connect();
    });
  }

  // connect begins anew: without Last-Event-ID, for what was missed is fetched in short and not as a stream of old blocks.
  connect() {
    this.#end();
    const source = new EventSource('/v1/events?cluster=1');
    this.#source = source;
    source.onopen = () => {
      if (this.#source === source) this.#awake();
    };
    source.onerror = () => {
      if (this.#source === source) this.#lost();
    };
    for (const type of ['block', 'leader', 'tx_failed', 'member', 'cluster']) {
      source.addEventListener(type, (message) => {
        if (this.#source !== source) return;
        this.#awake();
        if (type === 'cluster' && this.#tries >= 0) this.#found();
        this.#handlers[type](JSON.parse(message.data));
      });
    }
    this.#awake();
  }

  // know remembers whose pages there are besides this one.
  know(cluster) {
    this.#node = cluster.node;
    this.#others = cluster.members.filter((m) => m.id !== cluster.node && m.api).map((m) => ({ id: m.id, api: m.api }));
  }

  #awake() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(), silence);
  }

  // found: the first snapshot is there, so all is shown again.
  #found() {
    this.#tries = -1;
    byId('lost').hidden = true;
    document.body.classList.remove('stale');
    byId('link').dataset.state = 'live';
    put(byId('link-text'), 'Live');
    this.#handlers.open();
  }

  #lost() {
    this.#end();
    this.#tries = Math.max(this.#tries, 0);
    const wait = waits[Math.min(this.#tries, waits.length - 1)];
    this.#tries++;
    const due = performance.now() + wait;
    this.#retry = setTimeout(() => this.connect(), wait);
    document.body.classList.add('stale');
    byId('link').dataset.state = 'lost';
    put(byId('link-text'), 'Reconnecting');
    put(byId('lost-text'), `The connection to ${this.#node} is lost: what you see may be out of date.`);
    this.#offer();
    byId('lost').hidden = false;
    const count = () => put(byId('lost-next'), `Next try in ${Math.max(0, Math.ceil((due - performance.now()) / 1000))} s.`);
    count();
    this.#tick = setInterval(count, 250);
    this.#handlers.lost();
  }

  // offer links the other nodes' pages. A node names its own address: anything but http is dropped.
  #offer() {
    const links = [];
    for (const { id, api } of this.#others) {
      let url;
      try {
        url = new URL(api);
      } catch {
        continue;
      }
      if (url.protocol !== 'http:' && url.protocol !== 'https:') continue;
      links.push(el('a', { href: url.origin + '/', rel: 'noreferrer', title: clean(url.origin) }, id), ' ');
    }
    byId('lost-links').replaceChildren(...links);
    byId('lost-others').hidden = links.length === 0;
  }

  #rest() {
    this.#end();
    this.#tries = 0;
    byId('link').dataset.state = 'connecting';
    put(byId('link-text'), 'Asleep');
  }

  #end() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    clearInterval(this.#tick);
    if (this.#source) this.#source.close();
    this.#source = null;
  }
}
