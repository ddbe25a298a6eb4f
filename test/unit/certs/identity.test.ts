import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSpiffeId, uriSans } from '../../../certs/identity.ts';
import { identityFromPem } from '../../../certs/identity-pem.ts';
import { type Extension, extensions, OID } from '../../../certs/issue-der.ts';
import { BAD_NAMES, TestCa } from '../../support/certificates.ts';

const run = { seed: 20261121, numRuns: 2000 };

describe('parseSpiffeId', () => {
  it('splits a workload of Kubernetes into its parts', () => {
    expect(parseSpiffeId('spiffe://cluster.local/ns/shop/sa/cart')).toEqual({
      uri: 'spiffe://cluster.local/ns/shop/sa/cart',
      trustDomain: 'cluster.local',
      path: '/ns/shop/sa/cart',
      namespace: 'shop',
      serviceAccount: 'cart',
    });
  });

  it.each([
    ['spiffe://a', ''],
    ['spiffe://a/b', '/b'],
    ['spiffe://a/ns/b/sa', '/ns/b/sa'],
    ['spiffe://a/ns/b/sa/c/d', '/ns/b/sa/c/d'],
    ['spiffe://a-b_c.9/x/ns/b/sa', '/x/ns/b/sa'],
    ['spiffe://a/...', '/...'],
  ])('accepts %s, whose path names no namespace', (uri, path) => {
    expect(parseSpiffeId(uri)).toMatchObject({ uri, path, namespace: '', serviceAccount: '' });
  });

  it.each<readonly [string, string]>([
    ...BAD_NAMES,
    ['empty', ''],
    ['without a trust domain', 'spiffe:///ns/a'],
    ['with capitals in its scheme', 'SPIFFE://a/b'],
    ['with a lone slash as path', 'spiffe://a/'],
    ['with one dot as segment', 'spiffe://a/./b'],
    ['with a space', 'spiffe://a/b c'],
    ['with a colon in its path', 'spiffe://a/b:c'],
    ['with a line end', 'spiffe://a/b\n'],
    ['with a full-width letter', 'spiffe://a/\uff41'],
    ['of 2049 bytes', `spiffe://a/${'b'.repeat(2049 - 'spiffe://a/'.length)}`],
    ['with 256 bytes of trust domain', `spiffe://${'a'.repeat(256)}/b`],
  ])('refuses a name %s', (_what, uri) => {
    expect(parseSpiffeId(uri)).toBeNull();
  });

  it('accepts the longest names of the specification', () => {
    expect(parseSpiffeId(`spiffe://${'a'.repeat(255)}/b`)).not.toBeNull();
    expect(parseSpiffeId(`spiffe://a/${'b'.repeat(2048 - 'spiffe://a/'.length)}`)).not.toBeNull();
  });

  it('agrees with the grammar of the specification on every mutation of a good name', () => {
    const grammar = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/(?!\.{1,2}(\/|$))[a-zA-Z0-9._-]+)*$/;
    const base = 'spiffe://cluster.local/ns/shop/sa/cart';
    const place = fc.nat({ max: base.length });
    const insert = fc.oneof(
      fc.constantFrom('', '/', '//', '.', '..', '/..', ':', '%2f', '@', '?', '#', '\0', ',', '"', '\\', 'é', 'A', ' '),
      fc.string({ maxLength: 3 }),
    );
    fc.assert(
      fc.property(place, fc.nat({ max: 3 }), insert, (at, cut, text) => {
        const uri = base.slice(0, at) + text + base.slice(at + cut);
        const id = parseSpiffeId(uri);
        // `$` also matches before a final line end.
        expect(id !== null).toBe(grammar.test(uri) && !uri.endsWith('\n'));
        if (id !== null) expect(`spiffe://${id.trustDomain}${id.path}`).toBe(uri);
      }),
      run,
    );
  });
});

describe('uriSans', () => {
  const of = (subjectAltName: string): readonly string[] | null => uriSans({ subjectAltName });

  it('takes the URIs among names of other kinds', () => {
    expect(of('DNS:a.b, URI:spiffe://a/b, IP Address:10.0.0.1, URI:https://c/')).toEqual([
      'spiffe://a/b',
      'https://c/',
    ]);
  });

  it('finds none where there is no extension or no URI', () => {
    expect(uriSans({ subjectAltName: undefined })).toEqual([]);
    expect(of('DNS:a')).toEqual([]);
  });

  it('does not take a URI out of a quoted value, whatever it holds', () => {
    expect(of('DNS:"x, URI:spiffe://a/b"')).toEqual([]);
    expect(of('DNS:"x\\", URI:spiffe://a/b", URI:"spiffe://\\u0000"')).toEqual(['spiffe://\0']);
    expect(of('othername:"URI:spiffe://a/b, URI:spiffe://c/d"')).toEqual([]);
  });

  it.each(['URI:"spiffe://a', 'URI:"\\x"', 'URI:a,URI:b', 'DNS:"a\\"'])('refuses the ambiguous text %s', (text) => {
    expect(of(text)).toBeNull();
  });

  it('gives back what a certificate was made with, escaped by Node or not', () => {
    const names = BAD_NAMES.map(([, uri]) => Buffer.from(uri, 'latin1').toString('latin1'));
    const any = fc.array(fc.constantFrom(...names, 'spiffe://a/b'), { minLength: 1, maxLength: 4 });
    const ca = new TestCa();
    fc.assert(
      fc.property(any, (uris) => {
        expect(uriSans(ca.x509WithUris(uris))).toEqual(uris);
      }),
      { ...run, numRuns: 30 },
    );
  });
});

describe('identityFromPem', () => {
  const ca = new TestCa();
  const good = ca.identity('shop/cart');
  const pem = { certificate: good.certificateChain, key: good.privateKey, bundle: good.trustBundle };
  const refusal = (over: Partial<typeof pem>): unknown => {
    const result = identityFromPem({ ...pem, ...over });
    return result.ok ? null : { part: result.error.part, message: result.error.message };
  };

  it('gives the same hash for a bundle in another order, with repetitions and with text between', () => {
    const other = new TestCa('other').trustBundle;
    const one = identityFromPem({ ...pem, bundle: pem.bundle + other });
    const two = identityFromPem({ ...pem, bundle: `# comment\n${other}${pem.bundle}\n${other}` });
    if (!one.ok || !two.ok) expect.fail('both bundles are good');
    expect(one.value.bundleHash).toBe(two.value.bundleHash);
    expect(one.value.bundleHash).not.toBe(good.bundleHash);
  });

  it('passes on nothing but certificates, though a key is pasted into their files', () => {
    const result = identityFromPem({ ...pem, certificate: pem.key + pem.certificate, bundle: pem.bundle + pem.key });
    if (!result.ok) expect.fail(result.error.message);
    expect(result.value.certificateChain + result.value.trustBundle).not.toContain('PRIVATE KEY');
  });

  it('accepts a chain through an intermediate', () => {
    expect(ca.intermediate().identity('shop/cart').certificateChain.match(/BEGIN/g)).toHaveLength(2);
  });

  it.each([
    ['an empty certificate', { certificate: '' }, 'certificate', 'is no PEM certificate'],
    [
      'a broken certificate',
      { certificate: pem.certificate.replace(/M/g, 'N') },
      'certificate',
      'is no PEM certificate',
    ],
    ['a key that is none', { key: 'x' }, 'key', 'is no unencrypted PEM private key'],
    ['the key of another', { key: ca.identity('shop/cart').privateKey }, 'key', 'does not belong to the certificate'],
    ['an empty bundle', { bundle: '' }, 'bundle', 'is no PEM bundle of CA certificates'],
    [
      'a leaf in the bundle',
      { bundle: pem.bundle + pem.certificate },
      'bundle',
      "holds a certificate that is not a CA's",
    ],
    [
      'a foreign bundle',
      { bundle: new TestCa().trustBundle },
      'bundle',
      'does not hold the CA that the certificate comes from',
    ],
  ])('refuses %s', (_what, over, part, message) => {
    expect(refusal(over)).toMatchObject({ part, message: expect.stringContaining(`the ${part} ${message}`) });
  });

  it('refuses a certificate that a peer would refuse: two names, no name, a weak key', () => {
    const bent = (uris: string[]): unknown => {
      const { certificate, key } = ca.withUris(uris);
      return refusal({ certificate, key });
    };
    expect(bent(['spiffe://a/b', 'spiffe://a/c'])).toMatchObject({ message: expect.stringContaining('2 URI SANs') });
    expect(bent([])).toMatchObject({ message: expect.stringContaining('no URI SAN') });
    expect(bent(['spiffe://a/b'])).toBeNull();
  });

  const usable = (extension: Extension): unknown => {
    const { certificate, key } = ca.bent((template) => ({
      ...template,
      extensions: [...template.extensions.filter(({ oid }) => oid !== extension.oid), extension],
    }));
    return refusal({ certificate, key });
  };

  it.each([
    ['of a CA', extensions.basicConstraints(true), 'a CA certificate was presented as the leaf'],
    [
      'that may sign certificates',
      extensions.keyUsage(['digitalSignature', 'keyCertSign']),
      'the leaf may sign certificates or CRLs',
    ],
    ['that may not sign a handshake', extensions.keyUsage(['keyEncipherment']), 'the key usage lacks digitalSignature'],
    ['for servers only', extensions.extKeyUsage([OID.serverAuth]), 'the extended key usage lacks clientAuth'],
    ['for clients only', extensions.extKeyUsage([OID.clientAuth]), 'the extended key usage lacks serverAuth'],
    [
      'for something else',
      extensions.extKeyUsage(['1.3.6.1.5.5.7.3.3']),
      'the extended key usage lacks clientAuth and serverAuth',
    ],
    [
      'for any use, which OpenSSL takes neither for a client nor for a server',
      extensions.extKeyUsage(['2.5.29.37.0']),
      'the extended key usage lacks clientAuth and serverAuth',
    ],
  ])('refuses a certificate %s, because every peer would', (_what, extension, detail) => {
    expect(usable(extension)).toEqual({
      part: 'certificate',
      message: `the certificate would be refused by peers: ${detail}`,
    });
  });

  it('accepts a certificate that says nothing about its use, or that may do more than it must', () => {
    const bare = ca.bent((template) => ({
      ...template,
      extensions: template.extensions.filter(({ oid }) => oid === OID.subjectAltName),
    }));
    expect(refusal(bare)).toBeNull();
    expect(usable(extensions.extKeyUsage([OID.clientAuth, '1.3.6.1.5.5.7.3.3', OID.serverAuth]))).toBeNull();
    expect(usable(extensions.keyUsage(['digitalSignature', 'keyEncipherment', 'keyAgreement']))).toBeNull();
  });

  it('never repeats the key in what it says', () => {
    const body = pem.key.split('\n')[1] ?? expect.fail('the key has a body');
    const said = JSON.stringify([refusal({ key: pem.key.replace('END', 'ENDE') }), refusal({ certificate: pem.key })]);
    expect(said).not.toContain(body);
  });
});
