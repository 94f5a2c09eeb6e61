// A cluster of real baton processes on loopback, with its files in a folder of its own.
import { spawn, execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

// until waits for a condition: ok returns something true. What it throws counts as not yet.
export async function until(what, ok, limitMs = 60_000) {
  const deadline = Date.now() + limitMs;
  let why = '';
  for (;;) {
    try {
      const result = await ok();
      if (result) return result;
      why = '';
    } catch (e) {
      why = `: ${e.message}`;
    }
    if (Date.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}${why}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const free = (port) => new Promise((resolve) => {
  const server = net.createServer();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
});

// freeBase finds a base port whose ports of three nodes were free a moment ago, below those that the kernel hands out.
async function freeBase(nodes) {
  for (let i = 0; i < 200; i++) {
    const base = 12_000 + 100 * Math.floor(Math.random() * 190);
    const ports = Array.from({ length: nodes }, (_, n) => [0, 1, 2].map((p) => base + 10 * n + p)).flat();
    if ((await Promise.all(ports.map(free))).every(Boolean)) return base;
  }
  throw new Error('no free ports');
}

export class Cluster {
  constructor(binary, dir, nodes, key) {
    Object.assign(this, { binary, dir, nodes, key });
  }

  static async layOut(binary, size, balance) {
    const dir = await mkdtemp(path.join(tmpdir(), 'baton-page-'));
    const keyFile = path.join(dir, 'user.json');
    await run(binary, ['key', 'new', '--out', keyFile]);
    const publicKey = JSON.parse(await readFile(keyFile, 'utf8')).public_key;
    const base = await freeBase(size);
    await run(binary, ['init', '--nodes', String(size), '--out', path.join(dir, 'cluster'), '--base-port', String(base),
      '--chain-id', 'conference', '--fund', `${publicKey}=${balance}`]);
    const nodes = Array.from({ length: size }, (_, i) => ({
      id: `node${i + 1}`, config: path.join(dir, 'cluster', `node${i + 1}`, 'config.json'), log: path.join(dir, `node${i + 1}.log`),
      url: `http://127.0.0.1:${base + 10 * i + 2}`, process: null,
    }));
    return new Cluster(binary, dir, nodes, { file: keyFile, publicKey });
  }

  node(id) {
    return this.nodes.find((n) => n.id === id);
  }

  async start(node) {
    const log = await open(node.log, 'a');
    node.process = spawn(this.binary, ['run', '--config', node.config], { stdio: ['ignore', log.fd, log.fd] });
    node.ended = new Promise((resolve) => node.process.once('exit', resolve));
    await log.close();
  }

  // secure gives a node that does not run a certificate for its API, which nobody has signed: HTTPS from its next start on.
  async secure(node) {
    const { stdout: root } = await run('go', ['env', 'GOROOT']);
    const tool = path.join(root.trim(), 'src/crypto/tls/generate_cert.go');
    await run('go', ['run', tool, '--host', '127.0.0.1', '--ecdsa-curve', 'P256'], { cwd: this.dir });
    const file = JSON.parse(await readFile(node.config, 'utf8'));
    Object.assign(file.api, { tls_cert: path.join(this.dir, 'cert.pem'), tls_key: path.join(this.dir, 'key.pem') });
    await writeFile(node.config, JSON.stringify(file), { mode: 0o600 });
    node.url = node.url.replace('http:', 'https:');
  }

  // kill ends a node as a power cut does: its worker dies with it.
  async kill(node) {
    node.process.kill('SIGKILL');
    await node.ended;
    node.process = null;
    await until(`${node.id} is gone`, () => this.status(node).then(() => false, () => true));
  }

  async status(node) {
    const answer = await fetch(`${node.url}/v1/status`, { signal: AbortSignal.timeout(5000) });
    return answer.json();
  }

  // leader is the id of the node that leads under a lease, other than the one named.
  leader(other = '') {
    return until('a node leads', async () => {
      for (const n of this.nodes.filter((x) => x.process && x.id !== other)) {
        const answer = await fetch(`${n.url}/leader`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
        if (answer?.ok) return (await answer.json()).leader;
      }
      return '';
    });
  }

  // otherLeader is the id of the leader once that is not the node named, which hands over if it is.
  async otherLeader(node) {
    return until(`another node than ${node.id} leads`, async () => {
      const leader = await this.leader();
      if (leader !== node.id) return leader;
      await run(this.binary, ['leader', 'transfer', '--config', node.config]);
      return '';
    });
  }

  async send(node, message) {
    const args = ['tx', 'send', '--json', '--api', node.url, '--key', this.key.file, '--message', JSON.stringify(message)];
    const { stdout } = await run(this.binary, args);
    return JSON.parse(stdout);
  }

  transfer(node, to, amount) {
    return this.send(node, { type: 'transfer', to, asset: 'native', amount: String(amount) });
  }

  async close() {
    const running = this.nodes.filter((n) => n.process);
    for (const n of running) n.process.kill('SIGKILL');
    await Promise.all(running.map((n) => n.ended));
    await rm(this.dir, { recursive: true, force: true });
  }
}

