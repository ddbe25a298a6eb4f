import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateProblem, Identity } from '../../../certs/identity.ts';
import { extensions, OID } from '../../../certs/issue-der.ts';
import { FilesSource, readIdentity } from '../../../certs/sources/files.ts';
import { systemClock } from '../../../shared/clock.ts';
import { TestCa, writeIdentity } from '../../support/certificates.ts';

const ca = new TestCa();
const first = ca.identity('shop/cart');
const second = ca.identity('shop/cart');

let dir: string;
let source: FilesSource | null = null;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-certs-'));
});
afterEach(() => {
  source?.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Everything a source says, to be taken one by one. */
class Heard {
  private readonly said: (Identity | CertificateProblem)[] = [];
  private wake: () => void = () => {};

  constructor(source: FilesSource) {
    source.start(this.take, this.take);
  }

  async next(): Promise<Identity | CertificateProblem> {
    while (this.said.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.said.shift() as Identity | CertificateProblem;
  }

  private readonly take = (what: Identity | CertificateProblem): void => {
    this.said.push(what);
    this.wake();
  };
}

function listen(): Heard {
  source = new FilesSource(dir, systemClock);
  return new Heard(source);
}

describe('the files source', () => {
  it('gives the identity that is there, and the next one after renames', async () => {
    writeIdentity(dir, first);
    const heard = listen();
    expect(await heard.next()).toEqual(first);
    writeIdentity(dir, second);
    // Between the renames the key may not fit; that is a problem told, never an identity.
    let next = await heard.next();
    if ('message' in next) next = await heard.next();
    expect(next).toEqual(second);
  });

  it('follows a swap of ..data', async () => {
    const mount = (generation: string, identity: Identity): void => {
      writeIdentity(join(dir, `..${generation}`), identity);
      symlinkSync(`..${generation}`, join(dir, '..data_tmp'));
      renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    };
    mount('g1', first);
    for (const name of ['tls.crt', 'tls.key', 'ca.crt']) symlinkSync(`..data/${name}`, join(dir, name));
    const heard = listen();
    expect(await heard.next()).toEqual(first);
    mount('g2', second);
    expect(await heard.next()).toEqual(second);
  });

  it('tells what is wrong with a torn pair, keeps quiet about it, and goes on when it is mended', async () => {
    writeIdentity(dir, first);
    const heard = listen();
    await heard.next();
    writeFileSync(join(dir, 'tls.key'), second.privateKey);
    expect(await heard.next()).toMatchObject({ part: 'key', message: 'the key does not belong to the certificate' });
    writeFileSync(join(dir, 'tls.crt'), second.certificateChain);
    expect(await heard.next()).toEqual(second);
  });

  it('gives no certificate that every peer would refuse, so that the last good one stays in use', async () => {
    writeIdentity(dir, first);
    const heard = listen();
    await heard.next();
    const serverOnly = ca.bent((template) => ({
      ...template,
      extensions: template.extensions.map((old) =>
        old.oid === OID.extKeyUsage ? extensions.extKeyUsage([OID.serverAuth]) : old,
      ),
    }));
    writeIdentity(dir, { ...first, certificateChain: serverOnly.certificate, privateKey: serverOnly.key });
    let next = await heard.next();
    // Between the renames the key may not fit.
    if ('part' in next && next.part === 'key') next = await heard.next();
    expect(next).toMatchObject({
      part: 'certificate',
      message: 'the certificate would be refused by peers: the extended key usage lacks clientAuth',
    });
    writeIdentity(dir, second);
    do next = await heard.next();
    while ('part' in next);
    expect(next).toEqual(second);
  });

  it('waits for a folder that is not there yet', async () => {
    rmSync(dir, { recursive: true });
    const heard = listen();
    expect(await heard.next()).toMatchObject({ part: 'source', message: `${dir} does not exist` });
    mkdirSync(dir);
    writeIdentity(dir, first);
    let next = await heard.next();
    while ('message' in next) next = await heard.next();
    expect(next).toEqual(first);
  });
});

describe('readIdentity', () => {
  it.each(['tls.crt', 'tls.key', 'ca.crt'])('names a missing %s', async (name) => {
    writeIdentity(dir, first);
    rmSync(join(dir, name));
    expect(await readIdentity(dir, systemClock)).toMatchObject({
      ok: false,
      error: { message: `${dir}/${name} does not exist`, advice: expect.stringContaining('--certs') },
    });
  });

  it('gives no identity that is not valid now', async () => {
    const day = 86_400_000;
    writeIdentity(dir, ca.identity('shop/cart', { now: Date.now() - 2 * day }));
    expect(await readIdentity(dir, systemClock)).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining('the certificate expired at') },
    });
    writeIdentity(dir, ca.identity('shop/cart', { now: Date.now() + day }));
    expect(await readIdentity(dir, systemClock)).toMatchObject({
      ok: false,
      error: { advice: expect.stringContaining('clock') },
    });
  });
});
