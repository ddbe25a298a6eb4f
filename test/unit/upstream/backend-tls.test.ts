import { afterAll, describe, expect, test } from 'vitest';
import { BackendTls, backendAlpn } from '../../../proxy/upstream/backend-tls.ts';
import type { Refusal, SecureDial } from '../../../proxy/upstream/secure-dial.ts';
import type { BackendTlsSpec } from '../../../proxy/upstream/spec.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { OpenSslCa } from '../../support/openssl-ca.ts';
import { Folder } from '../../support/policy.ts';

const folder = new Folder('weft-backend-tls-');
afterAll(() => folder.remove());
const ca = new OpenSslCa(folder, 'ca');

function spec(more: Partial<BackendTlsSpec> = {}): BackendTlsSpec {
  return {
    source: { file: 'policy.yaml', line: 1, name: 'BackendTLSPolicy shop/p' },
    serverName: 'a.example',
    certificates: ca.certificate,
    names: [{ type: 'Hostname', value: 'a.example' }],
    clientCertificate: null,
    ...more,
  };
}

function dialled(found: SecureDial | Refusal): SecureDial {
  if ('failure' in found) throw new Error(found.detail);
  return found;
}

test('sessions of one policy are of no use under another: other names, other CAs, another certificate of ours', () => {
  const clock = new ManualClock();
  const own = ca.issue(['DNS:own.example']);
  const files = { certificate: own.certificateFile, privateKey: own.keyFile };
  const keys = [
    spec(),
    spec({ serverName: 'b.example' }),
    spec({ names: [{ type: 'URI', value: 'x://y' }] }),
    spec({ certificates: new OpenSslCa(folder, 'other').certificate }),
    spec({ clientCertificate: files }),
  ].map((each) => dialled(new BackendTls(each, clock).dial([])));
  expect(new Set(keys.map(({ trustHash, ownFingerprint }) => `${trustHash} ${ownFingerprint}`)).size).toBe(keys.length);
  const again = dialled(new BackendTls(spec(), clock).dial([]));
  expect(again.trustHash).toBe(keys[0]?.trustHash);
});

describe('a client certificate', () => {
  const own = ca.issue(['DNS:own.example']);
  const next = ca.issue(['DNS:next.example']);
  const clientCertificate = {
    certificate: folder.write('used.crt', own.certificate),
    privateKey: folder.write('used.key', own.key),
  };

  test('that was replaced is used ten seconds later at most, and half a one not at all', () => {
    const clock = new ManualClock();
    const backend = new BackendTls(spec({ clientCertificate }), clock);
    const fingerprint = (): string => dialled(backend.dial([])).ownFingerprint;
    const first = fingerprint();
    folder.write('used.crt', next.certificate);
    expect(fingerprint()).toBe(first);
    clock.advance(10_000);
    // Its key is still the old one's.
    expect(fingerprint()).toBe(first);
    folder.write('used.key', next.key);
    clock.advance(10_000);
    expect(fingerprint()).not.toBe(first);
    folder.write('used.crt', own.certificate);
    folder.write('used.key', own.key);
  });

  test('that is not there is told with its path, and never with what a key file holds', () => {
    const clock = new ManualClock();
    const missing = { ...clientCertificate, privateKey: `${folder.path}/gone.key` };
    const found = new BackendTls(spec({ clientCertificate: missing }), clock).dial([]);
    expect('failure' in found && found.failure.word).toBe('client_certificate_unusable');
    expect('failure' in found && found.detail).toContain('gone.key');
    const canary = { ...clientCertificate, privateKey: folder.write('bad.key', 'CANARY-OF-A-KEY') };
    const broken = new BackendTls(spec({ clientCertificate: canary }), clock).dial([]);
    expect('failure' in broken && broken.detail).not.toContain('CANARY');
  });
});

test.each([
  ['http', 'h1', ['http/1.1']],
  ['http', 'h2', ['http/1.1']],
  ['http2', 'h1', ['h2']],
  ['grpc', 'h2', ['h2']],
  ['auto', 'h1', ['http/1.1']],
  ['auto', 'h2', ['h2', 'http/1.1']],
  ['https', 'h2', ['h2', 'http/1.1']],
] as const)('a port of %s is offered, for a caller of %s, %j', (protocol, lane, tokens) => {
  expect(backendAlpn(protocol, lane)).toEqual(tokens);
});
