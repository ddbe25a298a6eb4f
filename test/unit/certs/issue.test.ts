import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCa } from '../../../certs/ca-cli.ts';
import { readAuthority, writeAuthority } from '../../../certs/ca-folder.ts';
import {
  type Authority,
  createIntermediate,
  createRoot,
  DAY_MS,
  issueLeaf,
  mayHaveAuthorityBelow,
} from '../../../certs/issue.ts';
import { readIdentity } from '../../../certs/sources/files.ts';
import { systemClock } from '../../../shared/clock.ts';

const dir = mkdtempSync(join(tmpdir(), 'weft-issue-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const now = Math.floor(Date.now() / 1000) * 1000;
const root = createRoot({ commonName: 'root', now });
const intermediate = createIntermediate(root, { commonName: 'intermediate', now });
const spiffeId = 'spiffe://cluster.local/ns/shop/sa/cart';

function leafOf(authority: Authority, over: Partial<Parameters<typeof issueLeaf>[1]> = {}): X509Certificate {
  const leaf = issueLeaf(authority, { spiffeId, now, ...over });
  if (!leaf.ok) throw new Error(leaf.error);
  return new X509Certificate(leaf.value.certificateChain);
}

/** The judgement of the openssl program, in its strictest mode. */
function opensslVerify(leaf: X509Certificate, purpose: 'sslclient' | 'sslserver'): string {
  writeFileSync(join(dir, 'root.pem'), root.certificate);
  writeFileSync(join(dir, 'chain.pem'), intermediate.chain);
  writeFileSync(join(dir, 'leaf.pem'), leaf.toString());
  const args = [
    'verify',
    '-x509_strict',
    '-purpose',
    purpose,
    '-CAfile',
    'root.pem',
    '-untrusted',
    'chain.pem',
    'leaf.pem',
  ];
  return execFileSync('openssl', args, { cwd: dir, encoding: 'utf8' });
}

describe('an issued certificate', () => {
  it.each([
    ['the root', root],
    ['an intermediate', intermediate],
  ])('from %s satisfies openssl in strict mode, as client and as server', (_what, authority) => {
    const leaf = leafOf(authority);
    expect(opensslVerify(leaf, 'sslclient')).toContain('OK');
    expect(opensslVerify(leaf, 'sslserver')).toContain('OK');
  });

  it('has one SPIFFE ID, an empty subject, both extended usages, a P-256 key and begins two minutes back', () => {
    const leaf = leafOf(root, { dnsNames: ['cart.shop'] });
    expect(leaf.subject).toBeUndefined();
    expect(leaf.subjectAltName).toBe(`URI:${spiffeId}, DNS:cart.shop`);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(leaf.validFromDate.getTime()).toBe(now - 120_000);
    expect(leaf.validToDate.getTime()).toBe(now + DAY_MS);
  });

  it('never outlives its issuer', () => {
    const leaf = leafOf(createRoot({ commonName: 'short', now, lifetimeMs: 3_600_000 }));
    expect(leaf.validToDate.getTime()).toBe(now + 3_600_000);
  });

  it('has a random serial number of 127 bits', () => {
    const serials = new Set(Array.from({ length: 20 }, () => leafOf(root).serialNumber));
    expect(serials.size).toBe(20);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  it('carries the requester’s key and no private key if one was given', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const leaf = issueLeaf(root, { spiffeId, now, publicKey });
    if (!leaf.ok) expect.fail(leaf.error);
    expect(leaf.value.privateKey).toBe('');
    expect(new X509Certificate(leaf.value.certificateChain).publicKey.equals(publicKey)).toBe(true);
  });

  it.each([
    ['a name that is no SPIFFE ID', { spiffeId: 'https://a/b' }],
    ['a trust domain without a workload', { spiffeId: 'spiffe://cluster.local' }],
    ['a DNS name with a space', { dnsNames: ['a b'] }],
    ['a DNS name with a line end', { dnsNames: ['a\n'] }],
    ['a time after the end of the CA', { now: now + 4000 * DAY_MS }],
  ])('is not made for %s', (_what, over) => {
    expect(issueLeaf(root, { spiffeId, now, ...over }).ok).toBe(false);
  });

  it('is written with the right kind of time beyond 2049', () => {
    const far = createRoot({ commonName: 'far', now, lifetimeMs: 40 * 365 * DAY_MS });
    expect(new X509Certificate(far.certificate).validToDate.getTime()).toBe(now + 40 * 365 * DAY_MS);
  });
});

describe('the path length', () => {
  const open = (parent: Authority, pathLength: number): Authority =>
    createIntermediate(parent, { commonName: `open to ${pathLength}`, now, pathLength });

  it('counts in every CA above, up to the root: each allows so many below itself', () => {
    expect(mayHaveAuthorityBelow(root)).toMatchObject({ ok: true });
    expect(mayHaveAuthorityBelow(open(root, 1))).toMatchObject({ ok: true });
    expect(mayHaveAuthorityBelow(intermediate)).toMatchObject({ ok: false });
    expect(mayHaveAuthorityBelow(createRoot({ commonName: 'alone', now, pathLength: 0 }))).toMatchObject({ ok: false });
    const one = createRoot({ commonName: 'one below', now, pathLength: 1 });
    expect(mayHaveAuthorityBelow(one)).toMatchObject({ ok: true });
    const last = open(one, 9);
    expect(mayHaveAuthorityBelow(last)).toMatchObject({ error: expect.stringContaining('of a CA above it') });
    expect(mayHaveAuthorityBelow({ ...last, trustBundle: root.certificate + one.certificate }).ok).toBe(false);
    expect(mayHaveAuthorityBelow(open(open(root, 1), 9))).toMatchObject({ ok: false });
    expect(mayHaveAuthorityBelow(open(open(root, 200), 199))).toMatchObject({ ok: true });
    const two = open(createRoot({ commonName: 'two below', now, pathLength: 2 }), 9);
    expect(mayHaveAuthorityBelow(two)).toMatchObject({ ok: true });
    expect(mayHaveAuthorityBelow({ ...two, chain: two.chain + two.trustBundle })).toMatchObject({ ok: true });
  });
});

describe('weft ca', () => {
  async function ca(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    let out = '';
    let err = '';
    const code = await runCa(args, {
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
    });
    return { code, out, err };
  }

  it('makes a root for ten years with a secret key file, and workload certificates that the sidecar can use', async () => {
    const home = join(dir, 'ca');
    expect(await ca('init', home)).toMatchObject({ code: 0, err: '' });
    expect(statSync(join(home, 'ca.key')).mode & 0o777).toBe(0o600);
    const certificate = new X509Certificate(readFileSync(join(home, 'ca.crt')));
    expect(certificate.ca).toBe(true);
    expect((certificate.validToDate.getTime() - Date.now()) / DAY_MS).toBeGreaterThan(3649);

    const out = join(dir, 'cart');
    expect(
      await ca('issue', home, '--spiffe-id', spiffeId, '--dns', 'a', '--dns', 'b', '--ttl', '2h', '--out', out),
    ).toMatchObject({
      code: 0,
      out: expect.stringContaining(spiffeId),
    });
    expect(statSync(join(out, 'tls.key')).mode & 0o777).toBe(0o600);
    const identity = await readIdentity(out, systemClock);
    if (!identity.ok) expect.fail(identity.error.message);
    expect(identity.value.spiffeId).toBe(spiffeId);
    expect((identity.value.notAfter - Date.now()) / 3_600_000).toBeCloseTo(2, 1);
    expect(await ca('issue', home, '--spiffe-id', spiffeId, '--out', out)).toMatchObject({ code: 0 });
  });

  it('makes an intermediate whose certificates lead to the root', async () => {
    const home = join(dir, 'parent');
    const below = join(dir, 'below');
    const out = join(dir, 'from-below');
    await ca('init', home);
    expect(await ca('init', below, '--parent', home, '--name', 'team')).toMatchObject({ code: 0, err: '' });
    expect(await ca('issue', below, '--spiffe-id', spiffeId, '--out', out)).toMatchObject({ code: 0, err: '' });
    expect((await readIdentity(out, systemClock)).ok).toBe(true);
    expect(readFileSync(join(out, 'ca.crt'), 'utf8')).toBe(readFileSync(join(home, 'ca.crt'), 'utf8'));
    expect((await readAuthority(below)).ok).toBe(true);
  });

  it('makes no intermediate below one that may sign leaves only, because no peer would accept what it signs', async () => {
    const home = join(dir, 'top');
    const below = join(dir, 'leaves-only');
    const tooDeep = join(dir, 'too-deep');
    await ca('init', home);
    await ca('init', below, '--parent', home);
    expect(await ca('init', tooDeep, '--parent', below)).toEqual({
      code: 1,
      out: '',
      err: expect.stringContaining(`${below}: a path length of 0 (basicConstraints) forbids another CA below it`),
    });
    expect(existsSync(tooDeep)).toBe(false);
  });

  it('makes an intermediate below one whose path length leaves room', async () => {
    const middle = join(dir, 'middle');
    const out = join(dir, 'from-bottom');
    await writeAuthority(middle, createIntermediate(root, { commonName: 'middle', now, pathLength: 1 }));
    expect(await ca('init', join(dir, 'bottom'), '--parent', middle)).toMatchObject({ code: 0, err: '' });
    expect(await ca('issue', join(dir, 'bottom'), '--spiffe-id', spiffeId, '--out', out)).toMatchObject({ code: 0 });
    writeFileSync(join(dir, 'bottom-root.pem'), root.certificate);
    const args = ['verify', '-x509_strict', '-CAfile', '../bottom-root.pem', '-untrusted', 'tls.crt', 'tls.crt'];
    expect(execFileSync('openssl', args, { cwd: out, encoding: 'utf8' })).toContain('OK');
  });

  it('never writes a workload certificate into the folder of a CA, whose ca.crt it would replace', async () => {
    const home = join(dir, 'both');
    await ca('init', home);
    const before = readFileSync(join(home, 'ca.crt'), 'utf8');
    for (const out of [home, join(home, '.')]) {
      const result = await ca('issue', home, '--spiffe-id', spiffeId, '--out', out);
      expect(result).toMatchObject({
        code: 2,
        out: '',
        err: expect.stringContaining(`--out ${out} is the folder of a CA`),
      });
    }
    expect(readFileSync(join(home, 'ca.crt'), 'utf8')).toBe(before);
    expect(existsSync(join(home, 'tls.crt'))).toBe(false);
  });

  it('never overwrites a CA', async () => {
    const home = join(dir, 'once');
    await ca('init', home);
    const key = readFileSync(join(home, 'ca.key'), 'utf8');
    expect(await ca('init', home)).toMatchObject({ code: 1, err: expect.stringContaining('already holds a CA') });
    expect(readFileSync(join(home, 'ca.key'), 'utf8')).toBe(key);
  });

  it.each([
    [[], 'a command is missing'],
    [['sign'], 'there is no command "sign"'],
    [['init'], 'DIR is missing'],
    [['init', 'a', 'b'], 'one DIR only'],
    [['init', 'a', '--nmae', 'x'], "'--nmae'"],
    [['issue', 'a', '--out', 'b'], '--spiffe-id is missing'],
    [['issue', 'a', '--spiffe-id', 'spiffe://a/b'], '--out is missing'],
    [['issue', 'a', '--spiffe-id', 'spiffe://a/b', '--out', 'b', '--ttl', 'soon'], '--ttl "soon" is no duration'],
    [['issue', 'a', '--spiffe-id', 'spiffe://a/b', '--out', 'b', '--ttl', '1s'], 'is not between'],
  ])('exits 2 for %j and says why', async (args, message) => {
    const { code, err } = await ca(...args);
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).toContain('usage: weft ca init DIR');
  });

  it.each([['--help'], ['init', '--help'], ['issue', '--help'], ['serve', '--help']])(
    'tells its usage for %s %s, and exits 0',
    async (...args) => {
      expect(await ca(...args)).toEqual({ code: 0, out: expect.stringContaining('usage: weft ca init DIR'), err: '' });
    },
  );

  it('exits 1 where there is no CA, naming the way to one', async () => {
    const result = await ca('issue', join(dir, 'none'), '--spiffe-id', spiffeId, '--out', join(dir, 'x'));
    expect(result).toMatchObject({ code: 1, err: expect.stringContaining('weft ca init') });
  });
});
