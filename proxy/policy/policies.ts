/**
 * Every kind of policy a route may carry. A new kind is one file and one line here; the contract suite walks this array.
 */
import { CORS } from './cors.ts';
import { FAULT_INJECTION } from './fault-injection.ts';
import { REQUEST_HEADER_MODIFIER, RESPONSE_HEADER_MODIFIER } from './header-modifier.ts';
import type { PolicyKind } from './policy.ts';
import { REQUEST_REDIRECT } from './redirect.ts';
import { URL_REWRITE } from './rewrite.ts';

export const POLICY_KINDS: readonly PolicyKind[] = [
  FAULT_INJECTION,
  REQUEST_HEADER_MODIFIER,
  RESPONSE_HEADER_MODIFIER,
  REQUEST_REDIRECT,
  URL_REWRITE,
  CORS,
];
