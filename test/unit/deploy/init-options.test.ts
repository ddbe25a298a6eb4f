import { describe, expect, test } from 'vitest';
import { type InitOptions, initHelp, parseInit } from '../../../deploy/init/options.ts';

const noFile = (): string => {
  throw Object.assign(new Error('gone'), { code: 'ENOENT' });
};

function parsed(args: readonly string[], env: Record<string, string> = {}, annotations?: string): InitOptions {
  const file = annotations === undefined ? [] : ['--annotations', 'pod'];
  const result = parseInit([...args, ...file], env, annotations === undefined ? noFile : () => annotations);
  if (!result.ok) throw new Error(result.error.join('\n'));
  return result.value;
}

function problems(args: readonly string[], env: Record<string, string> = {}, annotations?: string): string[] {
  const result = parseInit(args, env, annotations === undefined ? noFile : () => annotations);
  return result.ok ? [] : result.error;
}

test('without a word everything is captured, for user and group 1337', () => {
  expect(parsed([])).toEqual({
    redirect: {
      outboundPort: 15_001,
      inboundPort: 15_006,
      uid: 1337,
      gid: 1337,
      includeOutboundIPRanges: '*',
      excludeOutboundIPRanges: [],
      includeOutboundPorts: [],
      excludeOutboundPorts: [],
      includeInboundPorts: '*',
      excludeInboundPorts: [],
      excludeInterfaces: [],
    },
    action: 'apply',
    backend: null,
  });
});

test('flags win over variables, those over annotations, and weft’s annotations over Istio’s', () => {
  const annotations = `traffic.sidecar.istio.io/excludeInboundPorts="1"
weft.dev/excludeInboundPorts="2"
traffic.sidecar.istio.io/excludeOutboundPorts="3"
`;
  const env = { WEFT_EXCLUDE_INBOUND_PORTS: '4', WEFT_EXCLUDE_OUTBOUND_PORTS: '' };
  expect(parsed(['--exclude-inbound-ports=5'], env, annotations).redirect.excludeInboundPorts).toEqual([5]);
  expect(parsed([], env, annotations).redirect.excludeInboundPorts).toEqual([4]);
  expect(parsed([], {}, annotations).redirect.excludeInboundPorts).toEqual([2]);
  expect(parsed([], env, annotations).redirect.excludeOutboundPorts).toEqual([3]);
});

test('every list has its annotation, under both names', () => {
  for (const prefix of ['traffic.sidecar.istio.io/', 'weft.dev/']) {
    const annotations = Object.entries({
      includeOutboundIPRanges: '10.96.0.0/12, fd96::/112',
      excludeOutboundIPRanges: '10.1.2.3/8',
      includeOutboundPorts: '443',
      excludeOutboundPorts: '25,26',
      includeInboundPorts: '',
      excludeInboundPorts: '9090',
      excludeInterfaces: 'eth1, docker0',
    }).map(([name, value]) => `${prefix}${name}="${value}"\n`);
    expect(parsed([], {}, annotations.join('')).redirect).toMatchObject({
      includeOutboundIPRanges: ['10.96.0.0/12', 'fd96::/112'],
      excludeOutboundIPRanges: ['10.0.0.0/8'],
      includeOutboundPorts: [443],
      excludeOutboundPorts: [25, 26],
      includeInboundPorts: [],
      excludeInboundPorts: [9090],
      excludeInterfaces: ['eth1', 'docker0'],
    });
  }
});

test('annotations of others hold anything, and are not read', () => {
  const annotations =
    'kubectl/last="{\\n\\t\\"a\\": \\u00e9}"\nweft.dev/inject="true"\nweft.dev/excludeOutboundPorts="80"\n';
  expect(parsed([], {}, annotations).redirect.excludeOutboundPorts).toEqual([80]);
});

describe('is refused:', () => {
  test.each([
    [['--exclude-inbound-ports', '80,http'], '--exclude-inbound-ports: holds "http", which is no port number'],
    [['--exclude-inbound-ports', '0'], '--exclude-inbound-ports: holds "0", which is no port number'],
    [['--include-inbound-ports', '65536'], '--include-inbound-ports: holds "65536", which is no port number'],
    [
      ['--exclude-outbound-ip-ranges', '10.0.0.0/33'],
      '--exclude-outbound-ip-ranges: holds "10.0.0.0/33", which is no address block, e.g. 10.0.0.0/8',
    ],
    [
      ['--exclude-outbound-ip-ranges', '*'],
      '--exclude-outbound-ip-ranges: holds "*", which is no address block, e.g. 10.0.0.0/8',
    ],
    [
      ['--exclude-interfaces', 'eth0;reboot'],
      '--exclude-interfaces: holds "eth0;reboot", which is no network interface name',
    ],
    [['--uid', 'weft'], '--uid: must be a number: names are not looked up'],
    [['--backend', 'ipfw'], '--backend: must be nft or iptables'],
    [
      ['--exclude-inbound-port', '80'],
      'unknown argument --exclude-inbound-port (did you mean --exclude-inbound-ports?)',
    ],
    [['--outbound-port'], '--outbound-port needs a value'],
    [['--dry-run=yes'], '--dry-run takes no value'],
    [['--uid', '1', '--uid', '2'], '--uid is given twice'],
    [['--dry-run', '--remove'], '--dry-run and --remove do not go together'],
    [['--annotations', 'pod'], '--annotations pod: cannot be read: ENOENT'],
  ])('%j', (args, problem) => {
    expect(problems(args)).toEqual([problem]);
  });

  test('a variable, by its name', () => {
    expect(problems([], { WEFT_INBOUND_PORT: 'x' })).toEqual(['WEFT_INBOUND_PORT: must be a port number']);
  });

  test('an annotation of Istio’s redirect that weft does not know, so that nobody believes it holds', () => {
    const annotations = 'traffic.sidecar.istio.io/excludeInboundPort="80"\n';
    expect(problems(['--annotations', 'pod'], {}, annotations)).toEqual([
      'annotation traffic.sidecar.istio.io/excludeInboundPort is not supported (did you mean excludeInboundPorts?)',
    ]);
  });

  test('the value of an annotation, by its name', () => {
    expect(problems(['--annotations', 'pod'], {}, 'weft.dev/excludeInboundPorts="web"\n')).toEqual([
      'annotation weft.dev/excludeInboundPorts: holds "web", which is no port number',
    ]);
  });
});

test('the help names every flag', () => {
  for (const flag of ['include-outbound-ip-ranges CIDR,…|*', 'exclude-interfaces NAME,…', 'annotations FILE', 'remove'])
    expect(initHelp()).toContain(`--${flag}`);
});
