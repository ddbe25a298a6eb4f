import { createHash, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { identityFromPem } from '../../../certs/identity-pem.ts';
import { Revocations } from '../../../certs/verify-revocation.ts';
import { TestCa } from '../../support/certificates.ts';
import { revocationList } from '../../support/revocation.ts';

const ca = new TestCa();
const other = new TestCa('other root');
const one = ca.identity('shop/one');
const two = ca.identity('shop/two');
const foreign = other.identity('shop/one');

const certificateOf = (identity: { certificateChain: string }): X509Certificate =>
  new X509Certificate(identity.certificateChain);

describe('revocation lists', () => {
  it('name the certificates in them and no others', () => {
    const revocations = new Revocations([revocationList(ca, [one]), revocationList(other, [])]);
    expect(revocations.names(certificateOf(one))).toBe(true);
    expect(revocations.names(certificateOf(two))).toBe(false);
    expect(revocations.names(certificateOf(foreign))).toBe(false);
  });

  it('name by issuer and number: a list of another CA revokes nothing of ours', () => {
    const revocations = new Revocations([revocationList(other, [one])]);
    expect(revocations.names(certificateOf(one))).toBe(false);
  });

  it('exceed what they were when they name one more, not when they name fewer', () => {
    const none = new Revocations([]);
    const first = new Revocations([revocationList(ca, [one])]);
    const both = new Revocations([revocationList(ca, [one, two])]);
    expect([first.exceeds(none), both.exceeds(first), first.exceeds(both), first.exceeds(first)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('throw RangeError, and nothing else, for any other bytes', () => {
    const list = Buffer.from(revocationList(ca, [one, two]).replaceAll(/-----[^-]+-----/g, ''), 'base64');
    fc.assert(
      fc.property(fc.nat(list.length - 1), fc.nat(255), (at, byte) => {
        const bent = Buffer.from(list);
        bent[at] = byte;
        try {
          expect(new Revocations([bent.toString('base64')]).exceeds(new Revocations([]))).toBeTypeOf('boolean');
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { seed: 20261121, numRuns: 500 },
    );
  });
});

describe('an identity with revocation lists', () => {
  const pem = { certificate: one.certificateChain, key: one.privateKey, bundle: one.trustBundle };

  it('holds each list, and is another trust than without', () => {
    const lists = [revocationList(ca, []), revocationList(other, [foreign])];
    const identity = identityFromPem({ ...pem, revocation: `# two lists\n${lists.join('')}` });
    if (!identity.ok) throw new Error(identity.error.message);
    expect(identity.value.revocationLists).toEqual(lists);
    expect(identity.value.bundleHash).not.toBe(one.bundleHash);
    const turned = identityFromPem({ ...pem, revocation: lists.toReversed().join('') });
    expect(turned).toMatchObject({ value: { bundleHash: identity.value.bundleHash } });
    expect(identityFromPem(pem)).toMatchObject({ value: { revocationLists: [], bundleHash: one.bundleHash } });
  });

  it.each([
    ['empty', ''],
    ['a certificate', ca.trustBundle],
    ['no DER', '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n'],
    ['cut short', revocationList(ca, [one]).slice(0, -30)],
  ])('is refused where the file is %s', (_what, revocation) => {
    expect(identityFromPem({ ...pem, revocation })).toMatchObject({ ok: false, error: { part: 'revocation' } });
  });
});

describe('half a file', () => {
  const intermediate = ca.intermediate();
  const own = intermediate.identity('shop/cart', { trustBundle: ca.trustBundle + other.trustBundle });
  const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

  it('of the bundle is never taken, unless it ends with a whole certificate', () => {
    const whole = own.trustBundle;
    const boundary = ca.trustBundle.trimEnd().length;
    for (let length = 0; length < whole.trimEnd().length; length++) {
      const { certificateChain: certificate, privateKey: key } = own;
      const identity = identityFromPem({ certificate, key, bundle: whole.slice(0, length) });
      // Nothing tells a file cut there from one that is meant so.
      const seemsWhole = length === boundary || length === boundary + 1;
      expect([length, identity.ok]).toEqual([length, seemsWhole]);
    }
  });

  it('of the certificate or the key is never taken', () => {
    const { certificateChain, privateKey, trustBundle: bundle } = own;
    for (let length = 0; length < certificateChain.trimEnd().length; length += 7) {
      const identity = identityFromPem({ certificate: certificateChain.slice(0, length), key: privateKey, bundle });
      expect([length, identity.ok]).toEqual([length, false]);
    }
    for (let length = 0; length < privateKey.trimEnd().length; length++) {
      const identity = identityFromPem({ certificate: certificateChain, key: privateKey.slice(0, length), bundle });
      if (identity.ok) expect(hashOf(identity.value.privateKey)).toBe(hashOf(privateKey));
    }
  });
});
