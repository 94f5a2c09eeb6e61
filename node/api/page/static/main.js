// What this page is made of, put together.
import * as chain from './chain.js';
import { forgetLease, showCluster } from './cluster.js';
import * as search from './search.js';
import { Stream } from './stream.js';
import * as timeline from './timeline.js';

let known = ''; // leader and term of the newest snapshot

const stream = new Stream({
  open() {
    chain.refresh();
    timeline.refresh();
  },
  lost: forgetLease,
  block: chain.addBlock,
  tx_failed: chain.addRefused,
  leader: timeline.refresh,
  member() {}, // the next snapshot shows it
  cluster(c) {
    stream.know(c);
    showCluster(c);
    search.setLed(Boolean(c.leader));
    timeline.setMembers(c.members.map((m) => m.id));
    if (known !== `${c.leader}/${c.term}`) {
      known = `${c.leader}/${c.term}`;
      timeline.refresh();
    }
  },
});

search.setUp();
stream.connect();
