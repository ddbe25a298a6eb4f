import { describe, expect, test } from 'vitest';
import { iptablesRemoval, iptablesRuleset, iptablesState } from '../../../deploy/init/iptables.ts';
import { nftRemoval, nftRuleset } from '../../../deploy/init/nftables.ts';
import { parseInit, type Redirect } from '../../../deploy/init/options.ts';
import { chainsOf } from '../../../deploy/init/rules.ts';
import { targetsOf } from '../../../deploy/init/target.ts';

function redirect(...args: string[]): Redirect {
  const parsed = parseInit(args, {}, () => '');
  if (!parsed.ok) throw new Error(parsed.error.join('\n'));
  return parsed.value.redirect;
}

test('nftables: one table for both families, replaced in one transaction', () => {
  expect(
    nftRuleset(chainsOf(redirect('--exclude-inbound-ports', '9090', '--exclude-outbound-ip-ranges', 'fd00::/8'))),
  ).toBe(`table inet weft
delete table inet weft
table inet weft {
	chain to_inbound {
		tcp dport { 15020, 15021, 15090, 9090 } return
		meta l4proto tcp redirect to :15006
	}

	chain to_outbound {
		tcp dport { 53 } return
		ip6 daddr fd00::/8 return
		meta l4proto tcp redirect to :15001
	}

	chain loopback {
		ip saddr 127.0.0.6 return
		ip6 saddr ::6 return
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		meta skuid 1337 jump to_inbound
		meta skgid 1337 jump to_inbound
	}

	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		meta l4proto != tcp return
		iifname "lo" return
		jump to_inbound
	}

	chain output {
		type nat hook output priority -100; policy accept;
		meta l4proto != tcp return
		oifname "lo" jump loopback
		oifname "lo" return
		meta skuid 1337 return
		meta skgid 1337 return
		jump to_outbound
	}
}
`);
  expect(nftRemoval()).toBe('table inet weft\ndelete table inet weft\n');
});

describe('iptables', () => {
  const chains = chainsOf(
    redirect(
      '--include-inbound-ports',
      '80,81',
      '--include-outbound-ip-ranges',
      '10.0.0.0/8,fd00::/8',
      '--exclude-interfaces',
      'eth1',
    ),
  );

  test('takes the same rules, those of its family, one for each port', () => {
    expect(iptablesRuleset(chains, 6, [])).toBe(`*nat
:WEFT_TO_INBOUND - [0:0]
:WEFT_TO_OUTBOUND - [0:0]
:WEFT_LOOPBACK - [0:0]
:WEFT_PREROUTING - [0:0]
:WEFT_OUTPUT - [0:0]
-A WEFT_TO_INBOUND -p tcp --dport 15020 -j RETURN
-A WEFT_TO_INBOUND -p tcp --dport 15021 -j RETURN
-A WEFT_TO_INBOUND -p tcp --dport 15090 -j RETURN
-A WEFT_TO_INBOUND -p tcp --dport 80 -j REDIRECT --to-ports 15006
-A WEFT_TO_INBOUND -p tcp --dport 81 -j REDIRECT --to-ports 15006
-A WEFT_TO_OUTBOUND -p tcp --dport 53 -j RETURN
-A WEFT_TO_OUTBOUND -p tcp -d fd00::/8 -j REDIRECT --to-ports 15001
-A WEFT_LOOPBACK -p tcp -s ::6 -j RETURN
-A WEFT_LOOPBACK -p tcp -d ::1 -j RETURN
-A WEFT_LOOPBACK -p tcp -m owner --uid-owner 1337 -j WEFT_TO_INBOUND
-A WEFT_LOOPBACK -p tcp -m owner --gid-owner 1337 -j WEFT_TO_INBOUND
-A WEFT_PREROUTING -p tcp -i lo -j RETURN
-A WEFT_PREROUTING -p tcp -i eth1 -j RETURN
-A WEFT_PREROUTING -p tcp -j WEFT_TO_INBOUND
-A WEFT_OUTPUT -p tcp -o lo -j WEFT_LOOPBACK
-A WEFT_OUTPUT -p tcp -o lo -j RETURN
-A WEFT_OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN
-A WEFT_OUTPUT -p tcp -m owner --gid-owner 1337 -j RETURN
-A WEFT_OUTPUT -p tcp -o eth1 -j RETURN
-A WEFT_OUTPUT -p tcp -j WEFT_TO_OUTBOUND
-A PREROUTING -p tcp -j WEFT_PREROUTING
-A OUTPUT -p tcp -j WEFT_OUTPUT
COMMIT
`);
    expect(iptablesRuleset(chains, 4, [])).toContain('-A WEFT_TO_OUTBOUND -p tcp -d 10.0.0.0/8 -j REDIRECT');
    expect(iptablesRuleset(chains, 4, [])).not.toContain('fd00::/8');
  });

  test('hooks in once: a hook that leads there already is left as it is', () => {
    const listing =
      '-P OUTPUT ACCEPT\n-N WEFT_OUTPUT\n-A OUTPUT -p tcp -j WEFT_OUTPUT\n-A PREROUTING -p tcp -j OTHER\n';
    const { hooked, present } = iptablesState(listing, chains);
    expect([hooked, [...present]]).toEqual([['output'], ['WEFT_OUTPUT']]);
    const ruleset = iptablesRuleset(chains, 4, hooked);
    expect(ruleset).not.toContain('-A OUTPUT ');
    expect(ruleset).toContain('-A PREROUTING -p tcp -j WEFT_PREROUTING\n');
  });

  test('takes away what is there, and only that', () => {
    expect(iptablesRemoval(chains, ['output'], new Set(['WEFT_OUTPUT', 'OTHER']))).toBe(
      '*nat\n-D OUTPUT -p tcp -j WEFT_OUTPUT\n-F WEFT_OUTPUT\n-X WEFT_OUTPUT\nCOMMIT\n',
    );
    expect(iptablesRemoval(chains, [], new Set())).toBe('*nat\nCOMMIT\n');
  });
});

describe('a test connection goes where it must be captured:', () => {
  const own = ['10.77.0.10'];
  const tried = (...args: string[]): string[] =>
    targetsOf(redirect(...args), 4, own).map(({ host, port }) => `${host}:${port}`);

  test('nowhere in particular, else next door', () => {
    expect(tried()).toEqual(['192.0.2.1:15002', '10.77.0.11:15002']);
    expect(targetsOf(redirect(), 6, ['fd77::10'])).toEqual([
      { family: 6, host: '2001:db8::1', port: 15_002 },
      { family: 6, host: 'fd77::11', port: 15_002 },
    ]);
  });

  test('past what is excluded', () => {
    expect(tried('--exclude-outbound-ports', '15002,15003', '--exclude-outbound-ip-ranges', '192.0.2.0/24')).toEqual([
      '10.77.0.11:15004',
    ]);
    expect(tried('--exclude-outbound-ip-ranges', '0.0.0.0/0')).toEqual([]);
  });

  test('to what is included, and only there', () => {
    expect(tried('--include-outbound-ip-ranges', '10.96.0.0/12,fd00::/8,172.16.0.9/32')).toEqual([
      '10.96.0.1:15002',
      '172.16.0.9:15002',
    ]);
    expect(tried('--include-outbound-ip-ranges=', '--include-outbound-ports', '443')).toEqual([
      '192.0.2.1:443',
      '10.77.0.11:443',
    ]);
    expect(tried('--include-outbound-ip-ranges=')).toEqual([]);
  });
});
