/** Where the CA gets its means to judge tokens: a JWKS that is fetched again and again, or a file of one-time tokens. */
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Clock } from '../shared/clock.ts';
import { err, ok, type Result } from '../shared/result.ts';
import type { TokenJudge } from './ca-server.ts';
import { identityOfToken, readJwks, type TokenKey, type TokenRules } from './ca-token.ts';
import { parseSpiffeId } from './identity.ts';
import { requestText } from './request.ts';

/** Keys are looked up anew after this, so that a key that was withdrawn does not live on. */
const FRESH_MS = 300_000;
/** A token of an unknown key asks for new keys, but not more often than this. */
const RETRY_MS = 10_000;
/** While the JWKS cannot be had, the last good one counts so long; then all tokens are refused. */
const MAX_AGE_MS = 3_600_000;
const FETCH_TIMEOUT_MS = 5000;
const MAX_JWKS_BYTES = 262_144;

/** Judges service-account tokens by the JWKS at an `https:` URL or in a file. */
export class JwksJudge {
  private readonly source: string;
  private readonly rules: TokenRules;
  private readonly clock: Clock;
  private keys: readonly TokenKey[] = [];
  private keysAt = Number.NEGATIVE_INFINITY;
  private askedAt = Number.NEGATIVE_INFINITY;
  private problem = 'no JWKS was had yet';
  private asking: Promise<void> | null = null;

  constructor(source: string, rules: TokenRules, clock: Clock) {
    this.source = source;
    this.rules = rules;
    this.clock = clock;
  }

  readonly judge: TokenJudge = async (token) => {
    if (this.clock.now() - this.keysAt > FRESH_MS) await this.refresh();
    if (this.clock.now() - this.keysAt > MAX_AGE_MS) return err(`cannot be judged: ${this.problem}`);
    const first = this.attempt(token);
    if (first.ok || this.clock.now() - this.askedAt < RETRY_MS) return first;
    await this.refresh();
    return this.attempt(token);
  };

  private attempt(token: string): Result<string, string> {
    return identityOfToken(token, this.keys, this.rules, this.clock.wall());
  }

  /** One look at a time, however many callers wait for it. */
  private async refresh(): Promise<void> {
    if (this.asking === null && this.clock.now() - this.askedAt < RETRY_MS) return;
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
    });
    await this.asking;
  }

  private async ask(): Promise<void> {
    this.askedAt = this.clock.now();
    const text = await this.read();
    const keys = text.ok ? readJwks(text.value) : text;
    if (keys.ok) {
      this.keys = keys.value;
      this.keysAt = this.askedAt;
    } else {
      this.problem = `${this.source} ${keys.error}`;
    }
  }

  private async read(): Promise<Result<string, string>> {
    if (!this.source.startsWith('https://')) return readText(this.source);
    const answer = await requestText(this.source, { timeoutMs: FETCH_TIMEOUT_MS, maxBytes: MAX_JWKS_BYTES });
    if (!answer.ok) return answer;
    return answer.value.status === 200 ? ok(answer.value.text) : err(`answers with status ${answer.value.status}`);
  }
}

/**
 * Tokens that serve once: a file of lines `TOKEN SPIFFE_ID`, and of comments behind `#`. A token that was used is taken out
 * of the file before its certificate is issued, so that a crash can only lose it. After that the workload renews with its
 * certificate.
 */
export class JoinTokens {
  private readonly file: string;
  private readonly trustDomain: string;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(file: string, trustDomain: string) {
    this.file = file;
    this.trustDomain = trustDomain;
  }

  /**
   * What is wrong with the file as it is now, without a word of its tokens, or null. To be asked at start: unlike a JWKS,
   * which may come later by itself, this file is written by hand, and nobody but its writer can mend it.
   */
  async problem(): Promise<string | null> {
    const text = await readText(this.file);
    if (!text.ok) return `${this.file} ${text.error}`;
    for (const [index, line] of text.value.split('\n').entries()) {
      const entry = this.entryOf(line);
      if (entry?.spiffeId.ok === false) return `${this.file} line ${index + 1} ${entry.spiffeId.error}`;
    }
    return null;
  }

  /** One at a time: each reads the file as the last one left it. */
  readonly judge: TokenJudge = (token) => {
    const turn = this.queue.then(() => this.take(token));
    this.queue = turn;
    return turn;
  };

  private async take(token: string): Promise<Result<string, string>> {
    const text = await readText(this.file);
    if (!text.ok) return err(`cannot be judged: ${this.file} ${text.error}`);
    const wanted = digest(token);
    const lines = text.value.split('\n');
    const entries = lines.map((line) => this.entryOf(line));
    // Digests are compared, so that the time this takes tells nothing about the tokens.
    const found = entries.findIndex((entry) => entry !== null && digest(entry.token) === wanted);
    const spiffeId = entries[found]?.spiffeId;
    if (spiffeId === undefined) return err('is unknown or was used before');
    if (!spiffeId.ok) return err(`cannot be used: its line ${spiffeId.error}`);
    try {
      await writeFile(`${this.file}.new`, lines.toSpliced(found, 1).join('\n'), { mode: 0o600 });
      await rename(`${this.file}.new`, this.file);
    } catch {
      return err('cannot be marked as used: is the file writable?');
    }
    return spiffeId;
  }

  /** One line; null where it is empty or a comment. Only what is a SPIFFE ID is quoted: the fields may be swapped. */
  private entryOf(line: string): { token: string; spiffeId: Result<string, string> } | null {
    const [token = '', uri = ''] = line.trim().split(/\s+/);
    if (token === '' || token.startsWith('#')) return null;
    const id = parseSpiffeId(uri);
    if (id === null || id.path === '') return { token, spiffeId: err('names no SPIFFE ID of a workload') };
    if (id.trustDomain !== this.trustDomain) {
      return { token, spiffeId: err(`names "${uri}", which is not of trust domain ${this.trustDomain}`) };
    }
    return { token, spiffeId: ok(uri) };
  }
}

async function readText(path: string): Promise<Result<string, string>> {
  try {
    return ok(await readFile(path, 'utf8'));
  } catch {
    return err('cannot be read');
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
