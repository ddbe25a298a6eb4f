/** What `weft init` captures and what it leaves alone, told by the port at which connections arrive; no sidecar is needed. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { iptablesRuleset } from '../../deploy/init/iptables.ts';
import { nftRuleset } from '../../deploy/init/nftables.ts';
import { parseInit } from '../../deploy/init/options.ts';
import { chainsOf } from '../../deploy/init/rules.ts';
import { mayHavePods, type Pod, PodNetwork, requirePods } from '../support/pods.ts';
import { ROOT } from '../support/weft.ts';

const START_MS = 120_000;
// Most tests run several programs, one after the other.
vi.setConfig({ testTimeout: 60_000 });
const OUTBOUND = 15_001;
const INBOUND = 15_006;

let network: PodNetwork;
let inside: Pod;
let outside: Pod;

beforeEach(requirePods);

beforeAll(async () => {
  if (!(await mayHavePods())) return;
  network = await PodNetwork.create();
  inside = await network.pod('inside');
  outside = await network.pod('outside');
  const ports: [Pod, number[]][] = [
    [inside, [OUTBOUND, INBOUND, 8080, 9090, 15_020, 15_021, 15_090]],
    [outside, [53, 80, 443, 2222]],
  ];
  await Promise.all(
    ports.flatMap(([pod, numbers]) => numbers.map((port) => pod.do('serve', { kind: 'banner', port }))),
  );
}, START_MS);

afterAll(() => network?.[Symbol.asyncDispose]());

/** Pod and port at which a connection arrives. */
async function arrival(from: Pod, host: string, port: number): Promise<string> {
  return (await from.do('listenFirst', { host, port })).slice('220 '.length).trim();
}

/** The same for a process of this user and group. */
async function arrivalAs(uid: number, gid: number, host: string, port: number): Promise<string> {
  const connect = `exec 3<>/dev/tcp/${host}/${port}; head -n 1 <&3`;
  const printed = await inside.shell(`setpriv --reuid=${uid} --regid=${gid} --clear-groups bash -c '${connect}'`);
  return printed.slice('220 '.length).trim();
}

const captured = 'inside 15001';
const taken = 'inside 15006';

describe.each(['nft', 'iptables'])('with %s', (backend) => {
  const redirect = (...flags: string[]): Promise<string> => inside.redirect('--backend', backend, ...flags);

  test('all TCP is captured, both ways and over both families, and the pod says that it has seen it', async () => {
    const printed = await redirect();
    expect(printed).toBe(
      `weft init: the redirect is in place (${backend}), seen to capture 192.0.2.1:15002, [2001:db8::1]:15002`,
    );
    for (const host of [outside.ipv4, outside.ipv6]) expect(await arrival(inside, host, 80)).toBe(captured);
    for (const host of [inside.ipv4, inside.ipv6]) expect(await arrival(outside, host, 8080)).toBe(taken);
  });

  test.each([15_020, 15_021, 15_090])('port %i is for kubelet and Prometheus: it is left alone', async (port) => {
    await redirect();
    expect(await arrival(outside, inside.ipv4, port)).toBe(`inside ${port}`);
  });

  test('loopback and the own address are left alone, and names are asked for over TCP directly', async () => {
    await redirect();
    expect(await arrival(inside, '127.0.0.1', 8080)).toBe('inside 8080');
    expect(await arrival(inside, '::1', 8080)).toBe('inside 8080');
    expect(await arrival(inside, inside.ipv4, 8080)).toBe('inside 8080');
    expect(await arrival(inside, outside.ipv4, 53)).toBe('outside 53');
  });

  test.each([
    ['user', 1337, 0],
    ['group', 1000, 1337],
  ])("what weft's own %s sends passes, but to the pod's own address it comes in", async (_kind, uid, gid) => {
    await redirect();
    expect(await arrivalAs(uid, gid, outside.ipv4, 80)).toBe('outside 80');
    expect(await arrivalAs(uid, gid, inside.ipv4, 8080)).toBe(taken);
    expect(await arrivalAs(uid, gid, inside.ipv6, 8080)).toBe(taken);
    expect(await arrivalAs(uid, gid, '127.0.0.1', 8080)).toBe('inside 8080');
    expect(await arrivalAs(uid, gid, inside.ipv4, 15_021)).toBe('inside 15021');
  });

  test('excluded ranges and ports are left alone', async () => {
    await redirect('--exclude-outbound-ip-ranges', 'fd77::/64', '--exclude-outbound-ports', '443,2222');
    expect(await arrival(inside, outside.ipv6, 80)).toBe('outside 80');
    expect(await arrival(inside, outside.ipv4, 443)).toBe('outside 443');
    expect(await arrival(inside, outside.ipv4, 80)).toBe(captured);
    await redirect('--exclude-inbound-ports', '9090');
    expect(await arrival(outside, inside.ipv4, 9090)).toBe('inside 9090');
    expect(await arrival(outside, inside.ipv4, 8080)).toBe(taken);
  });

  test('included ranges and ports alone are captured', async () => {
    await redirect('--include-outbound-ip-ranges', '10.77.0.0/24', '--include-outbound-ports', '443');
    expect(await arrival(inside, outside.ipv4, 80)).toBe(captured);
    expect(await arrival(inside, outside.ipv6, 443)).toBe(captured);
    expect(await arrival(inside, outside.ipv6, 80)).toBe('outside 80');
    await redirect('--include-inbound-ports', '8080', '--include-outbound-ip-ranges=');
    expect(await arrival(outside, inside.ipv4, 8080)).toBe(taken);
    expect(await arrival(outside, inside.ipv4, 9090)).toBe('inside 9090');
    expect(await arrival(inside, outside.ipv4, 80)).toBe('outside 80');
  });

  test('an excluded interface is left alone, both ways', async () => {
    expect(await redirect('--exclude-interfaces', 'eth0')).toContain('outbound is not captured');
    expect(await arrival(inside, outside.ipv4, 80)).toBe('outside 80');
    expect(await arrival(outside, inside.ipv4, 8080)).toBe('inside 8080');
  });

  test('a second run changes nothing, and removal leaves nothing', async () => {
    const listing =
      'nft list table inet weft 2>&1 || true; iptables -t nat -S; ip6tables -t nat -S; ip -6 addr show dev lo';
    await inside.redirect('--remove');
    const before = await inside.shell(listing);
    await redirect('--exclude-inbound-ports', '9090');
    const once = await inside.shell(listing);
    expect(once).toContain('::6/128');
    await redirect('--exclude-inbound-ports', '9090');
    expect(await inside.shell(listing)).toBe(once);
    await inside.redirect('--remove');
    await inside.redirect('--remove');
    const after = await inside.shell(listing);
    expect(after).toBe(before);
    expect(after).not.toMatch(/WEFT_|chain|::6\/128/);
    expect(await arrival(inside, outside.ipv4, 80)).toBe('outside 80');
  });
});

test('nft and iptables take the rules of every choice there is', async () => {
  const port = fc.integer({ min: 1, max: 65_535 }).map(String);
  const ipv4 = fc.tuple(fc.ipV4(), fc.nat(32)).map(([address, bits]) => `${address}/${bits}`);
  const ipv6 = fc.tuple(fc.ipV6(), fc.nat(128)).map(([address, bits]) => `${address}/${bits}`);
  const list = (item: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.array(item, { maxLength: 4 }).map((items) => items.join(','));
  const orAll = (item: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof(fc.constant('*'), list(item));
  const choice = fc.record({
    'include-outbound-ip-ranges': orAll(fc.oneof(ipv4, ipv6)),
    'exclude-outbound-ip-ranges': list(fc.oneof(ipv4, ipv6)),
    'include-outbound-ports': list(port),
    'exclude-outbound-ports': list(port),
    'include-inbound-ports': orAll(port),
    'exclude-inbound-ports': list(port),
    'exclude-interfaces': list(fc.constantFrom('eth0', 'net1', 'veth-1.2')),
  });
  const check = async (flags: Readonly<Record<string, string>>): Promise<void> => {
    const parsed = parseInit(
      Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
      {},
      () => '',
    );
    if (!parsed.ok) throw new Error(parsed.error.join('\n'));
    const chains = chainsOf(parsed.value.redirect);
    const nft = network.folder.write('rules.nft', nftRuleset(chains));
    const [four, six] = ([4, 6] as const).map((family) =>
      network.folder.write(`rules.${family}`, iptablesRuleset(chains, family, [])),
    );
    const restore = (program: string, file = ''): string => `${program} --test --noflush ${file}`;
    await inside.shell(`nft -c -f ${nft}; ${restore('iptables-restore', four)}; ${restore('ip6tables-restore', six)}`);
  };
  await fc.assert(fc.asyncProperty(choice, check), { seed: 9, numRuns: 25, endOnFailure: true });
});

test("the pod's annotations are followed, weft's own before Istio's", async () => {
  const file = network.folder.write(
    'annotations',
    'other="with \\n and \\t"\ntraffic.sidecar.istio.io/excludeOutboundPorts="80"\ntraffic.sidecar.istio.io/excludeInboundPorts="9090"\nweft.dev/excludeInboundPorts="8080"\n',
  );
  await inside.redirect('--annotations', file);
  expect(await arrival(inside, outside.ipv4, 80)).toBe('outside 80');
  expect(await arrival(inside, outside.ipv4, 443)).toBe(captured);
  expect(await arrival(outside, inside.ipv4, 8080)).toBe('inside 8080');
  expect(await arrival(outside, inside.ipv4, 9090)).toBe(taken);
});

test('a redirect that does not capture ends with an error that says what to do', async () => {
  await inside.shell(
    'nft "add table inet other; add chain inet other first { type nat hook output priority -110; }; add rule inet other first tcp dport 15002 redirect to :8080"',
  );
  await expect(inside.redirect()).rejects.toThrow(/192\.0\.2\.1:15002 was not captured.*nft list ruleset/);
  await inside.shell('nft delete table inet other');
  expect(await inside.redirect()).toContain('seen to capture');
});

test.each(['nft', 'iptables'])('with %s, NET_ADMIN is all that it needs', async (backend) => {
  const root = 'setpriv --bounding-set=-all,+net_admin --inh-caps=-all';
  const init = `${process.execPath} ${ROOT}/proxy/main.ts init --backend ${backend}`;
  await inside.redirect('--remove');
  expect(await inside.shell(`${root} ${init}`)).toContain('seen to capture');
  await inside.redirect('--remove');
});

test('without the right to change rules it says what it needs', async () => {
  const init = (uid: number): string => `setpriv --reuid=${uid} ${process.execPath} ${ROOT}/proxy/main.ts init`;
  await expect(inside.shell(init(1000))).rejects.toThrow(/NET_ADMIN/);
  await expect(inside.shell(init(1337))).rejects.toThrow(/run it as root/);
});
