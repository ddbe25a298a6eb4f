/**
 * `weft.dev/v1` PolicyTest: requests, and what policy must make of them. Documents of `*.test.yaml` files, which are no
 * policy themselves; `metadata.namespace` is where the requests come from, unless `from` says otherwise.
 */
import { z } from 'zod';
import { parseSpiffeId } from '../../certs/identity.ts';
import { FAILURES } from '../../shared/errors.ts';
import { parsePercent } from '../../shared/units.ts';
import { complain, duration, envelope, object } from '../config/model/field.ts';
import { headerName } from '../config/model/http-filter.ts';
import type { Envelope, Kind } from '../config/model/kind.ts';
import { suggest } from '../config/near.ts';

/** Headers that must be there with this value, and ones that must not be there at all. */
export interface ExpectedHeaders {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly without?: readonly string[] | undefined;
}

/** What is left out is not asked about. */
export interface Expectation {
  readonly verdict?: 'forwarded' | 'answered' | 'refused' | undefined;
  /** Of weft's own answer. */
  readonly status?: number | undefined;
  /** weft's word for a refusal. */
  readonly word?: string | undefined;
  /** `namespace/name:port`, or `none` for a stranger. */
  readonly service?: string | undefined;
  /** `namespace/route/rule`, or `none`. */
  readonly route?: string | undefined;
  /** Percent by `namespace/name:port`; all that get anything, `invalid` for references that name nothing. */
  readonly backends?: Readonly<Record<string, number>> | undefined;
  /** As it leaves, to every backend. */
  readonly sends?:
    | (ExpectedHeaders & { readonly authority?: string | undefined; readonly path?: string | undefined })
    | undefined;
  /** Of weft's own answer, or added to every backend's. */
  readonly returns?: ExpectedHeaders | undefined;
  /** Milliseconds, 0: none. */
  readonly timeout?: number | undefined;
  readonly attemptTimeout?: number | undefined;
  readonly retries?: number | undefined;
  readonly mutualTls?: boolean | undefined;
}

export interface PolicyTestCase {
  readonly name: string;
  readonly request: {
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    /** SPIFFE ID of the caller. */
    readonly from?: string | undefined;
  };
  readonly expect: Expectation;
}

export interface PolicyTest extends Envelope {
  readonly spec: { readonly tests: readonly PolicyTestCase[] };
}

const words = Object.values(FAILURES).map(({ word }) => word);
const word = z.string().superRefine((value, context) => {
  if (!words.includes(value)) complain(context, `is no word of weft's: "${value}"`, suggest(value, words));
});

const spiffeId = z.string().superRefine((value, context) => {
  if (parseSpiffeId(value) === null) {
    complain(context, `is no SPIFFE ID: "${value}"`, 'spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME');
  }
});

const percentText = z.union([z.string(), z.number()], { error: 'must be a percentage' });
const percent: z.ZodType<number> = percentText.transform((value, context) => {
  const share = parsePercent(String(value));
  if (share !== null) return share;
  complain(context, `is no percentage: "${value}"`, 'e.g. 90%');
  return z.NEVER;
});

const expectedHeaders = {
  headers: z.record(headerName, z.string()).optional(),
  without: z.array(headerName).optional(),
};

const expectation = object({
  verdict: z.enum(['forwarded', 'answered', 'refused']).optional(),
  status: z.int().min(0).max(599).optional(),
  word: word.optional(),
  service: z.string().optional(),
  route: z.string().optional(),
  backends: z.record(z.string(), percent).optional(),
  sends: object({ authority: z.string().optional(), path: z.string().optional(), ...expectedHeaders }).optional(),
  returns: object(expectedHeaders).optional(),
  timeout: duration.optional(),
  attemptTimeout: duration.optional(),
  retries: z.int().min(0).optional(),
  mutualTls: z.boolean().optional(),
}).superRefine((value, context) => {
  if (Object.keys(value).length === 0) complain(context, 'expects nothing', 'e.g. {verdict: forwarded}');
});

const testCase = object({
  name: z.string().min(1),
  request: object({
    method: z.string().min(1).default('GET'),
    url: z.string().min(1),
    headers: z.record(headerName, z.string()).default({}),
    from: spiffeId.optional(),
  }),
  expect: expectation,
});

export const policyTest: Kind<PolicyTest> = {
  apiVersion: 'weft.dev/v1',
  kind: 'PolicyTest',
  schema: object({ ...envelope, spec: object({ tests: z.array(testCase).min(1) }) }),
};
