import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../../certs/identity.ts';
import { type AllowedServers, mayServe, verifyPeer } from '../../../certs/verify.ts';
import { leafOf, nameOf, weaknessOf } from '../../../certs/verify-leaf.ts';
import { leafUsage } from '../../../certs/verify-usage.ts';
import { FAILURES } from '../../../shared/errors.ts';
import { badPeers, TestCa } from '../../support/certificates.ts';
import { HandshakeServer, judgeServer } from '../../support/handshake.ts';

const ca = new TestCa();
const trust = { trustDomain: 'cluster.local', aliases: ['old.example'] };
const own = ca.identity('shop/front');
const server = new HandshakeServer(own, trust);
const bad = badPeers(ca);

beforeAll(() => server.listen());
afterAll(() => server.close());

describe('a peer in a real handshake', () => {
  it.each(bad)('that calls us $name is refused as $reason', async ({ credentials, reason, failure }) => {
    const verdict = await server.judgeCaller(credentials);
    expect(verdict).toMatchObject({ ok: false, error: { reason, failure: FAILURES[failure] } });
  });

  const servers = bad.flatMap((peer) =>
    peer.credentials === null ? [] : [{ ...peer, credentials: peer.credentials }],
  );
  it.each(servers)('that we call $name is refused with a word of the upstream', async ({ name, credentials }) => {
    const verdict = await judgeServer(own, credentials, trust);
    // May be a server, and that is what it is here.
    if (name === 'that may only be a server') expect(verdict.ok).toBe(true);
    else expect(verdict.ok ? '' : verdict.error.failure.word).toMatch(/^upstream_/);
  });

  it('is named by its SPIFFE ID if all is well', async () => {
    const { certificateChain: certificate, privateKey: key } = ca.identity('shop/cart');
    expect(await server.judgeCaller({ certificate, key })).toMatchObject({
      ok: true,
      value: { uri: 'spiffe://cluster.local/ns/shop/sa/cart', namespace: 'shop', serviceAccount: 'cart' },
    });
    expect(await judgeServer(own, { certificate, key }, trust)).toMatchObject({ ok: true });
  });

  it('may come from an intermediate and from an aliased trust domain', async () => {
    const { certificateChain, privateKey } = ca.intermediate().identity('spiffe://old.example/ns/shop/sa/cart');
    const verdict = await server.judgeCaller({ certificate: certificateChain, key: privateKey });
    expect(verdict).toMatchObject({ ok: true, value: { trustDomain: 'old.example' } });
  });

  it('covers at least 25 kinds of bad peer and every coarse word of the table', () => {
    expect(bad.length).toBeGreaterThanOrEqual(25);
    expect(new Set(bad.map(({ failure }) => failure)).size).toBe(7);
  });
});

describe('verifyPeer', () => {
  const leaf = new X509Certificate(ca.identity('shop/cart').certificateChain);
  const begin = leaf.validFromDate.getTime();
  const end = leaf.validToDate.getTime();

  it('checks validity by our own clock even where OpenSSL said yes, as it does on resumption', () => {
    expect(verifyPeer(leaf, null, { ...trust, now: end }, 'client').ok).toBe(true);
    expect(verifyPeer(leaf, null, { ...trust, now: end + 1000 }, 'client')).toMatchObject({
      ok: false,
      error: { reason: 'expired', failure: { word: 'peer_certificate_expired' } },
    });
  });

  it.each([
    [37_000, '37 s'],
    [12 * 60_000, '12 min'],
    [5 * 3_600_000, '5 h'],
    [3 * 86_400_000, '3 days'],
  ])('names a clock skew of %d ms as %s', (skew, text) => {
    const early = verifyPeer(leaf, null, { ...trust, now: begin - skew }, 'client');
    expect(early.ok ? '' : early.error.detail).toContain(`their clock is ${text} ahead of ours`);
    const late = verifyPeer(leaf, 'CERT_HAS_EXPIRED', { ...trust, now: end + skew }, 'server');
    expect(late.ok ? '' : late.error.detail).toContain(`expired ${text} ago`);
  });

  it('never accepts what OpenSSL refused, whatever it called it', () => {
    for (const code of ['UNSPECIFIED', 'CERT_REVOKED', 'HOSTNAME_MISMATCH', 'constructor', '__proto__', '']) {
      expect(verifyPeer(leaf, code, { ...trust, now: begin }, 'client').ok).toBe(false);
    }
  });

  it('quotes a name from the certificate in printable ASCII and bounded', () => {
    const name = nameOf({ subjectAltName: `URI:"spiffe://x\\u000a${'y'.repeat(5000)}"` });
    const detail = name.ok ? '' : name.error.detail;
    expect(detail).toMatch(/^[\x20-\x7e…]+$/);
    expect(detail.length).toBeLessThan(300);
  });
});

describe('leafOf', () => {
  it('reads the same bytes once, and others anew', () => {
    const { certificateChain } = ca.identity('shop/cart');
    const first = leafOf(new X509Certificate(certificateChain));
    expect(leafOf(new X509Certificate(certificateChain))).toBe(first);
    const other = leafOf(new X509Certificate(ca.identity('shop/cart').certificateChain));
    expect(other.hash).not.toBe(first.hash);
  });

  it('keeps no more than so many', () => {
    const { certificateChain } = ca.identity('shop/cart');
    const certificate = new X509Certificate(certificateChain);
    const first = leafOf(certificate);
    for (let i = 0; i < 1024; i++) {
      const raw = Buffer.concat([certificate.raw, Buffer.from([i >> 8, i & 255])]);
      leafOf(new Proxy(certificate, { get: (cert, key) => (key === 'raw' ? raw : Reflect.get(cert, key, cert)) }));
    }
    expect(leafOf(certificate)).not.toBe(first);
    expect(leafOf(certificate)).toEqual(first);
  });
});

describe('weaknessOf', () => {
  it.each(['P-224', 'secp256k1'])('refuses the curve %s', (namedCurve) => {
    expect(weaknessOf(generateKeyPairSync('ec', { namedCurve }).publicKey)).toContain('curve');
  });

  it('refuses RSA below 2048 bits and kinds of key that TLS 1.3 does not sign with', () => {
    expect(weaknessOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)).toContain('1024');
    expect(weaknessOf(generateKeyPairSync('x25519').publicKey)).toContain('x25519');
  });

  it('accepts P-256, P-384, P-521, RSA-2048 and Ed25519', () => {
    for (const namedCurve of ['P-256', 'P-384', 'P-521']) {
      expect(weaknessOf(generateKeyPairSync('ec', { namedCurve }).publicKey)).toBeNull();
    }
    expect(weaknessOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)).toBeNull();
    expect(weaknessOf(generateKeyPairSync('ed25519').publicKey)).toBeNull();
  });
});

describe('leafUsage', () => {
  const der = new X509Certificate(ca.identity('shop/cart').certificateChain).raw;

  it('reads the extensions where they are and allows every use where they are not', () => {
    expect(leafUsage(der)).toEqual({ ca: false, digitalSignature: true, signsCertificates: false });
    const bare = ca.bent((template) => ({ ...template, extensions: [] }));
    expect(leafUsage(new X509Certificate(bare.certificate).raw)).toEqual({
      ca: false,
      digitalSignature: true,
      signsCertificates: false,
    });
  });

  it('throws RangeError, and nothing else, for bytes cut short at any place', () => {
    for (let length = 0; length < der.length; length++) {
      expect(() => leafUsage(der.subarray(0, length))).toThrow(RangeError);
    }
  });
});

describe('mayServe', () => {
  const allowed: AllowedServers = { namespace: 'shop', identities: [], ...trust };
  const id = (uri: string): SpiffeId => parseSpiffeId(uri) ?? expect.fail(`${uri} is no SPIFFE ID`);

  it('admits any service account of the namespace, under the trust domain or an alias', () => {
    expect(mayServe(id('spiffe://cluster.local/ns/shop/sa/cart'), allowed)).toBe(true);
    expect(mayServe(id('spiffe://old.example/ns/shop/sa/pay'), allowed)).toBe(true);
  });

  it('admits no other namespace, trust domain or shape of path', () => {
    expect(mayServe(id('spiffe://cluster.local/ns/pay/sa/cart'), allowed)).toBe(false);
    expect(mayServe(id('spiffe://evil.example/ns/shop/sa/cart'), allowed)).toBe(false);
    expect(mayServe(id('spiffe://cluster.local/shop/cart'), allowed)).toBe(false);
    expect(mayServe(id('spiffe://cluster.local/shop/cart'), { ...allowed, namespace: '' })).toBe(false);
  });

  it('admits only the named identities where there are any, byte for byte', () => {
    const named = { ...allowed, identities: ['spiffe://cluster.local/ns/pay/sa/a.b'] };
    expect(mayServe(id('spiffe://cluster.local/ns/pay/sa/a.b'), named)).toBe(true);
    expect(mayServe(id('spiffe://old.example/ns/pay/sa/a.b'), named)).toBe(true);
    expect(mayServe(id('spiffe://cluster.local/ns/pay/sa/axb'), named)).toBe(false);
    expect(mayServe(id('spiffe://cluster.local/ns/shop/sa/cart'), named)).toBe(false);
  });
});
