import { createHmac, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCa } from '../../../certs/ca-cli.ts';
import { JoinTokens, JwksJudge } from '../../../certs/ca-proof.ts';
import { type CaLogLine, CaServer, type TokenJudge } from '../../../certs/ca-server.ts';
import { identityOfToken, readJwks } from '../../../certs/ca-token.ts';
import type { CertificateProblem, Identity } from '../../../certs/identity.ts';
import { freshKeys } from '../../../certs/issue.ts';
import { createCsr, readCsr } from '../../../certs/issue-csr.ts';
import { requestText } from '../../../certs/request.ts';
import { CaSource } from '../../../certs/sources/ca.ts';
import { ManualClock, systemClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { TestCa } from '../../support/certificates.ts';

const dir = mkdtempSync(join(tmpdir(), 'weft-ca-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const now = Date.now();
const seconds = Math.floor(now / 1000);
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = freshKeys();
const jwks = JSON.stringify({
  keys: [
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'r', alg: 'RS256', use: 'sig' },
    { ...ec.publicKey.export({ format: 'jwk' }), kid: 'e' },
    { kty: 'oct', k: 'c2VjcmV0', kid: 'h' },
    'nonsense',
  ],
});
const rules = { audience: 'weft-ca', issuer: null, trustDomain: 'cluster.local' };
const claims = { aud: ['weft-ca'], exp: seconds + 600, sub: 'system:serviceaccount:shop:cart' };

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function jwt(payload: unknown, header: object = { alg: 'RS256', kid: 'r' }, key: KeyObject = rsa.privateKey): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  const signature = sign(
    'sha256',
    Buffer.from(signed),
    key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'ieee-p1363' } : key,
  );
  return `${signed}.${signature.toString('base64url')}`;
}

describe('a service-account token', () => {
  const keys = readJwks(jwks);
  if (!keys.ok) throw new Error(keys.error);
  const judge = (token: string, over: Partial<typeof rules> | { issuer: string } = {}): unknown => {
    const result = identityOfToken(token, keys.value, { ...rules, ...over }, now);
    return result.ok ? result.value : result.error;
  };
  const id = 'spiffe://cluster.local/ns/shop/sa/cart';

  it('signed with RS256 or ES256 by a key of the JWKS names a SPIFFE ID', () => {
    expect(judge(jwt(claims))).toBe(id);
    expect(judge(jwt({ ...claims, aud: 'weft-ca' }, { alg: 'ES256', kid: 'e' }, ec.privateKey))).toBe(id);
    expect(judge(jwt(claims, { alg: 'ES256' }, ec.privateKey))).toBe(id);
    expect(judge(jwt({ ...claims, iss: 'k8s' }), { issuer: 'k8s' })).toBe(id);
  });

  const hs = (key: string | Buffer): string => {
    const signed = `${encode({ alg: 'HS256', kid: 'r' })}.${encode(claims)}`;
    return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
  };
  const unsigned = `${encode({ alg: 'none' })}.${encode(claims)}.`;
  const good = jwt(claims);
  const stray = `${good.slice(0, -1)}${String.fromCharCode(good.charCodeAt(good.length - 1) + 1)}`;
  it.each([
    ['without a signature', unsigned],
    ['with algorithm none and a signature', `${unsigned}AA`],
    ['with an HMAC made of the public key', hs(rsa.publicKey.export({ type: 'spki', format: 'pem' }))],
    ['with an HMAC made of a secret in the JWKS', hs('secret')],
    ['of another key', jwt(claims, undefined, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)],
    ['with the key id of another key', jwt(claims, { alg: 'RS256', kid: 'e' })],
    ['with an unknown key id', jwt(claims, { alg: 'RS256', kid: '../r' })],
    ['with the algorithm of another kind of key', jwt(claims, { alg: 'ES256', kid: 'r' })],
    [
      'that brings its own key',
      jwt(claims, { alg: 'RS256', jwk: ec.publicKey.export({ format: 'jwk' }) }, ec.privateKey),
    ],
    ['with a critical extension', jwt(claims, { alg: 'RS256', kid: 'r', crit: ['b64'] })],
    ['for another audience', jwt({ ...claims, aud: 'api' })],
    ['without an audience', jwt({ ...claims, aud: undefined })],
    ['that expired', jwt({ ...claims, exp: seconds - 31 })],
    ['without expiry', jwt({ ...claims, exp: undefined })],
    ['with a fractional expiry', jwt({ ...claims, exp: seconds + 0.5 })],
    ['with a huge expiry', jwt({ ...claims, exp: 1e300 })],
    ['that is not valid yet', jwt({ ...claims, nbf: seconds + 31 })],
    ['of a user', jwt({ ...claims, sub: 'system:admin' })],
    ['of a namespace with a slash', jwt({ ...claims, sub: 'system:serviceaccount:a/sa/x:cart' })],
    ['of a service account with capitals', jwt({ ...claims, sub: 'system:serviceaccount:shop:Cart' })],
    ['with lenient base64', jwt(claims).replace('.', '=.')],
    ['with stray bits at its end', stray],
    ['with claims that are an array', jwt([claims])],
    ['with four parts', `${jwt(claims)}.x`],
    ['longer than 16 KB', jwt({ ...claims, pad: 'x'.repeat(16_384) })],
    ['that is empty', ''],
  ])('%s is refused', (_what, token) => {
    expect(judge(token)).not.toMatch(/^spiffe:/);
  });

  it('of another issuer is refused where one is demanded', () => {
    expect(judge(jwt({ ...claims, iss: 'x' }), { issuer: 'k8s' })).toBe('is of another issuer');
  });

  it('cannot be judged by a JWKS without usable keys', () => {
    expect(readJwks('{"keys":[{"kty":"oct","k":"AA"}]}').ok).toBe(false);
    expect(readJwks('{}').ok).toBe(false);
    expect(readJwks('<html>').ok).toBe(false);
  });
});

describe('a certificate request', () => {
  it('gives the key that signed it', () => {
    for (const keys of [freshKeys(), rsa]) {
      const read = readCsr(createCsr(keys));
      expect(read.ok && read.value.equals(keys.publicKey)).toBe(true);
    }
  });

  it('is refused with another key in it, cut at any place, too long, or weak', () => {
    const csr = createCsr(freshKeys());
    const other = createCsr(freshKeys());
    const der = (text: string): Buffer => Buffer.from(text.replace(/-----.*-----/g, ''), 'base64');
    const pem = (bytes: Buffer): string =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    const mixed = der(csr);
    der(other).copy(mixed, 40, 40, 80);
    expect(readCsr(pem(mixed)).ok).toBe(false);
    for (let length = 0; length < mixed.length - 1; length++)
      expect(readCsr(pem(der(csr).subarray(0, length))).ok).toBe(false);
    expect(readCsr(csr + 'x'.repeat(20_000)).ok).toBe(false);
    expect(readCsr(createCsr(generateKeyPairSync('ec', { namedCurve: 'P-224' })))).toMatchObject({
      error: expect.stringContaining('curve'),
    });
    expect(readCsr('')).toMatchObject({ ok: false });
  });
});

describe('the CA server', () => {
  const ca = new TestCa('serving root');
  const lines: CaLogLine[] = [];
  let server: CaServer;
  let url: string;
  const tokens = join(dir, 'tokens');
  const jwksFile = join(dir, 'jwks.json');
  const bundleFile = join(dir, 'root.crt');
  const tokenFile = join(dir, 'token');
  writeFileSync(jwksFile, jwks);
  writeFileSync(bundleFile, ca.trustBundle);

  async function serve(judgeToken: TokenJudge): Promise<void> {
    server = new CaServer({
      authority: ca.intermediate().authority,
      trustDomain: 'cluster.local',
      dnsNames: ['localhost'],
      lifetimeMs: 3_600_000,
      judgeToken,
      clock: systemClock,
      log: (line) => lines.push(line),
    });
    url = `https://localhost:${await server.listen('127.0.0.1', 0)}`;
  }
  beforeEach(() => {
    lines.length = 0;
  });
  afterEach(() => server.close());

  function source(clock = systemClock): { next: () => Promise<Identity | CertificateProblem>; close: () => void } {
    const said: (Identity | CertificateProblem)[] = [];
    let wake = (): void => {};
    const take = (what: Identity | CertificateProblem): void => {
      said.push(what);
      wake();
    };
    const one = new CaSource({ url, tokenFile, bundleFile, clock, random: new Random(1) });
    one.start(take, take);
    const next = async (): Promise<Identity | CertificateProblem> => {
      while (said.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return said.shift() as Identity | CertificateProblem;
    };
    return { next, close: () => one.close() };
  }

  it('issues what the token says to a CA source, which renews at half of the lifetime with a new key', async () => {
    await serve(new JwksJudge(jwksFile, rules, systemClock).judge);
    writeFileSync(tokenFile, jwt(claims));
    const clock = new ManualClock(Date.now());
    const { next, close } = source(clock);
    const first = (await next()) as Identity;
    expect(first).toMatchObject({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/cart' });
    clock.advance(1_000_000);
    expect(lines).toHaveLength(1);
    clock.advance(1_000_000);
    const second = (await next()) as Identity;
    close();
    expect(second.spiffeId).toBe(first.spiffeId);
    expect(second.privateKey).not.toBe(first.privateKey);
    expect(lines.map(({ message, proof }) => `${message} ${proof}`)).toEqual(['issued token', 'issued token']);
    expect(lines[0]?.serialNumber).toBe(first.serialNumber);
  });

  it('takes a join token once; after that the workload renews with its certificate', async () => {
    writeFileSync(tokens, 'other spiffe://cluster.local/ns/a/sa/b\njoin-me spiffe://cluster.local/ns/shop/sa/pay\n');
    await serve(new JoinTokens(tokens, 'cluster.local').judge);
    writeFileSync(tokenFile, 'join-me\n');
    const clock = new ManualClock(Date.now());
    const first = source(clock);
    expect(await first.next()).toMatchObject({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/pay' });
    expect(readFileSync(tokens, 'utf8')).toBe('other spiffe://cluster.local/ns/a/sa/b\n');
    clock.advance(2_000_000);
    expect(await first.next()).toMatchObject({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/pay' });
    first.close();
    const thief = source();
    expect(await thief.next()).toMatchObject({ part: 'source', message: expect.stringContaining('was used before') });
    thief.close();
    expect(lines.map(({ message, proof }) => `${message} ${proof}`)).toEqual([
      'issued token',
      'refused token',
      'issued certificate',
      'refused token',
    ]);
  });

  it('gives one certificate for one join token, however many ask for it at once', async () => {
    writeFileSync(tokens, 'once spiffe://cluster.local/ns/a/sa/b\n');
    const judge = new JoinTokens(tokens, 'cluster.local').judge;
    await serve(judge);
    const answers = await Promise.all(Array.from({ length: 8 }, () => judge('once')));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
  });

  it('refuses callers without proof, of another CA, with other methods, paths and bodies', async () => {
    await serve(new JwksJudge(jwksFile, rules, systemClock).judge);
    const ask = async (over: object, path = '/v1/certificates'): Promise<number> => {
      const answer = await requestText(url + path, {
        method: 'POST',
        timeoutMs: 5000,
        maxBytes: 10_000,
        tls: { ca: ca.trustBundle },
        ...over,
      });
      if (!answer.ok) throw new Error(answer.error);
      return answer.value.status;
    };
    const authorization = `Bearer ${jwt(claims)}`;
    const stranger = new TestCa('other').identity('shop/cart');
    const tls = { ca: ca.trustBundle, cert: stranger.certificateChain, key: stranger.privateKey };
    const csr = createCsr(freshKeys());
    expect(await ask({ body: csr })).toBe(401);
    expect(await ask({ body: csr, tls })).toBe(401);
    expect(await ask({ body: csr, headers: { authorization: 'Bearer x' } })).toBe(401);
    expect(await ask({ body: 'x', headers: { authorization } })).toBe(400);
    expect(await ask({ body: 'x'.repeat(40_000), headers: { authorization } })).toBe(400);
    expect(await ask({ method: 'GET' })).toBe(405);
    expect(await ask({ body: csr }, '/')).toBe(404);
    expect(await ask({ body: csr, headers: { authorization } })).toBe(200);
    expect(lines.at(1)?.reason).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(lines.filter(({ message }) => message === 'issued')).toHaveLength(1);
  });

  it('that cannot be reached, or is none of the bundle, is a problem that the source tells and outlives', async () => {
    await serve(new JwksJudge(jwksFile, rules, systemClock).judge);
    writeFileSync(tokenFile, jwt(claims));
    writeFileSync(bundleFile, new TestCa('other').trustBundle);
    const clock = new ManualClock(Date.now());
    const { next, close } = source(clock);
    expect(await next()).toMatchObject({ part: 'source', advice: expect.stringContaining('root') });
    writeFileSync(bundleFile, ca.trustBundle);
    clock.advance(1000);
    expect(await next()).toMatchObject({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/cart' });
    close();
  });
});

describe('a file of join tokens', () => {
  const file = join(dir, 'judged');
  const tokens = new JoinTokens(file, 'cluster.local');
  const good = 'good spiffe://cluster.local/ns/a/sa/b';

  it.each([
    ['without a SPIFFE ID', 'bad', 'names no SPIFFE ID of a workload'],
    ['with a name that is none', 'bad https://a/b', 'names no SPIFFE ID of a workload'],
    ['without a workload', 'bad spiffe://cluster.local', 'names no SPIFFE ID of a workload'],
    [
      'of another trust domain',
      'bad spiffe://other.example/ns/a/sa/b',
      'names "spiffe://other.example/ns/a/sa/b", which is not of trust domain cluster.local',
    ],
  ])(
    'with a line %s is a problem at start, and that token is refused without being spent',
    async (_what, line, said) => {
      writeFileSync(file, `# ours\n${good}\n${line}\n`);
      const problem = await tokens.problem();
      expect(problem).toContain(`${file} line 3 `);
      expect(problem).toContain(said);
      expect(await tokens.judge('bad')).toMatchObject({ ok: false, error: expect.stringContaining(said) });
      expect(readFileSync(file, 'utf8')).toBe(`# ours\n${good}\n${line}\n`);
      expect(await tokens.judge('good')).toMatchObject({ ok: true });
    },
  );

  it('never has a token in the problem it tells', async () => {
    for (const line of ['secret', 'spiffe://cluster.local/ns/a/sa/b secret', 'secret spiffe://other/ns/a/sa/b']) {
      writeFileSync(file, `${line}\n`);
      expect(await tokens.problem()).toContain('line 1 names');
      expect(await tokens.problem()).not.toContain('secret');
    }
  });

  it('may have comments and empty lines, which are kept and are no tokens', async () => {
    const comment = '# spiffe://cluster.local/ns/a/sa/b\n #x spiffe://cluster.local/ns/a/sa/b\n\n';
    writeFileSync(file, `${comment}${good}\n`);
    expect(await tokens.problem()).toBeNull();
    for (const token of ['#', '#x', '']) expect(await tokens.judge(token)).toMatchObject({ ok: false });
    expect(await tokens.judge('good')).toMatchObject({ value: 'spiffe://cluster.local/ns/a/sa/b' });
    expect(readFileSync(file, 'utf8')).toBe(comment);
    // All used: workloads still renew by their certificates.
    expect(await tokens.problem()).toBeNull();
  });
});

describe('weft ca serve', () => {
  it.each([
    ['missing', null, 'cannot be read'],
    [
      'of another trust domain',
      'T spiffe://cluster.local/ns/a/sa/b\n',
      'line 1 names "spiffe://cluster.local/ns/a/sa/b", which is not of trust domain example.org',
    ],
  ])('does not start with a token file that is %s', async (what, content, message) => {
    const home = join(dir, what);
    const file = join(dir, `${what}.tokens`);
    let said = '';
    const writer = { write: (text: string) => (said += text) };
    const writers = { stdout: writer, stderr: writer };
    await runCa(['init', home], writers);
    if (content !== null) writeFileSync(file, content);
    const args = ['serve', home, '--listen', '127.0.0.1:0', '--join-tokens', file, '--trust-domain', 'example.org'];
    // Aborted already: if it did start it would end with 0.
    expect(await runCa(args, writers, AbortSignal.abort())).toBe(1);
    expect(said).toContain(`--join-tokens ${file} ${message}`);
  });

  it('serves on the port it names until it is stopped', async () => {
    const home = join(dir, 'home');
    const stop = new AbortController();
    let said = '';
    let listening = (_url: string): void => {};
    const url = new Promise<string>((resolve) => (listening = resolve));
    const stdout = {
      write(text: string): void {
        said += text;
        const found = /https:\/\/\S+/.exec(said)?.[0];
        if (found !== undefined) listening(found);
      },
    };
    const writers = { stdout, stderr: stdout };
    await runCa(['init', home], writers);
    writeFileSync(join(dir, 'join'), 'T spiffe://cluster.local/ns/a/sa/b\n');
    const args = ['serve', home, '--listen', '127.0.0.1:0', '--join-tokens', join(dir, 'join'), '--dns', 'localhost'];
    const running = runCa(args, writers, stop.signal);
    const { port } = new URL(await url);
    const answer = await requestText(`https://localhost:${port}/v1/certificates`, {
      method: 'POST',
      body: createCsr(freshKeys()),
      headers: { authorization: 'Bearer T' },
      tls: { ca: readFileSync(join(home, 'ca.crt'), 'utf8') },
      timeoutMs: 5000,
      maxBytes: 100_000,
    });
    if (!answer.ok) expect.fail(answer.error);
    const issued = JSON.parse(answer.value.text) as { certificateChain: string };
    expect(new X509Certificate(issued.certificateChain).subjectAltName).toBe('URI:spiffe://cluster.local/ns/a/sa/b');
    stop.abort();
    expect(await running).toBe(0);
    expect(said).toContain('"message":"issued"');
    expect(said).not.toContain('Bearer');
  });

  it.each([
    [['serve', 'a'], 'give one of --jwks and --join-tokens'],
    [['serve', 'a', '--jwks', 'f'], '--jwks needs --audience'],
    [['serve', 'a', '--jwks', 'http://x/', '--audience', 'y'], '--jwks must be https:'],
    [['serve', 'a', '--join-tokens', 'f', '--listen', 'x'], '--listen "x" is not HOST:PORT'],
    [['serve', 'a', '--join-tokens', 'f', '--trust-domain', 'A'], '--trust-domain "A"'],
  ])('exits 2 for %j', async (args, message) => {
    let said = '';
    const writer = { write: (text: string) => (said += text) };
    expect(await runCa(args, { stdout: writer, stderr: writer })).toBe(2);
    expect(said).toContain(message);
  });
});
